# Edgeferry: one process, no build step. DATA_DIR must be a mounted volume unless DATABASE_URL is set.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional

FROM node:24-bookworm-slim
ENV NODE_ENV=production EDGEFERRY_IMAGE=1 HOST=0.0.0.0 DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY src ./src
COPY routes ./routes
RUN mkdir /data && chown node:node /data
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 8080) + '/livez').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The young generation has its full size from the start, as by `npm start`: memory then grows little under load.
CMD ["node", "--min-semi-space-size=16", "--max-semi-space-size=16", "src/server.ts"]
