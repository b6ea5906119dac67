import neostandard, { plugins } from 'neostandard'

/** What wires, which nothing that is wired may know. */
const wiring = ['**/plugins/**', '**/app.ts', '**/server.ts', '**/routes/**', '**/config.ts', '**/sandbox/**']

/**
 * The doors of the house: which folder may import which. A pattern per folder, so that a wrong import fails the
 * check instead of starting a habit. Of those that fit a file only the last holds, so that each names all it keeps out.
 */
const doors = [
  ['src/*/**/*.ts', wiring,
    'only src/plugins and src/app.ts wire: take what you need as an argument'],
  ['src/jobs/lanes/**/*.ts', [...wiring, '**/copy/**', '**/netstorage/**', '**/s3/**', '**/purge/**'],
    'lanes say whose turn it is, and know nothing of what is done then'],
  ['src/{netstorage,s3,purge,sns,events,store,budgets}/**/*.ts', [...wiring, '**/jobs/**', '**/schemas.ts'],
    'a client knows nothing of the jobs that use it, nor of what wires it'],
  ['src/{errors,schemas,mapping,glob,templates,spelling}.ts', ['./*/**', '**/config.ts', '**/app.ts', '**/routes/**', '**/sandbox/**'],
    'the leaves import no folder of ours'],
  ['routes/**/*.ts', ['**/netstorage/**', '**/s3/**', '**/purge/**', '**/sns/**', '**/events/**', '**/store/**', '**/plugins/**', '**/jobs/**', 'pg-boss', 'kysely', '**/sandbox/**'],
    'routes reach the work through the decorators of the app'],
  ['sandbox/{netstorage,fast-purge,sns,s3,kit}/**/*.ts', ['**/src/**', '**/routes/**'],
    'emulators share no code with the service, so that both cannot be wrong together']
]

export default [
  { ignores: ['node_modules/', 'coverage/', '.tap/', 'data/'] },
  ...neostandard({ ts: true }),
  {
    files: ['**/*.ts'],
    plugins: { '@typescript-eslint': plugins['typescript-eslint'].plugin },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error'
    }
  },
  ...doors.map(([folder, group, message]) => ({
    files: [folder],
    ...(folder === 'src/*/**/*.ts' ? { ignores: ['src/plugins/**'] } : {}),
    rules: { 'no-restricted-imports': ['error', { patterns: [{ group, message, allowTypeImports: folder.startsWith('routes') }] }] }
  }))
]
