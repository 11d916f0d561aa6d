import { build } from 'esbuild'

const unusedDrivers = [
  'better-sqlite3',
  'libsql',
  'mariadb',
  'mysql',
  'mysql2',
  'oracledb',
  'sqlite3',
  'tedious',
]

await build({
  entryPoints: ['host.ts'],
  outfile: 'bundle/host.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  external: [...unusedDrivers, 'pg-native', 'pg-query-stream'],
  // The CommonJS packages among the dependencies use `require`.
  banner: {
    js: "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);",
  },
})
