# Edgeferry: one process, no build step. DATA_DIR must be a mounted volume unless DATABASE_URL is set.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional

FROM node:24-bookworm-slim
ENV NODE_ENV=production EDGEFERRY_IMAGE=1 HOST=0.0.0.0 DATA_DIR=/data MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY src ./src
COPY routes ./routes
RUN mkdir /data && chown node:node /data
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 8080) + '/livez').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# As by `npm start`, so that memory grows little under load: two malloc arenas for all threads, the young generation at its
# full size from the start, and an old one that is collected early because it may not become large.
CMD ["node", "--min-semi-space-size=16", "--max-semi-space-size=16", "--max-old-space-size=768", "src/server.ts"]
