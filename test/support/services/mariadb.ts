import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import { findOnPath } from './programs.ts'
import { freePort, guard, privateFolder, SetUpError, startServer, unprivileged } from './server.ts'

const run = promisify(execFile)

export const mariadb = {
  name: 'MariaDB',
  variable: 'TEST_MARIADB_URL',
  debianPackage: 'mariadb-server',

  find: async () => findOnPath('mariadbd') ?? findOnPath('/usr/sbin/mariadbd'),

  async start(program: string) {
    const folder = privateFolder()
    const data = path.join(folder, 'data')
    const unguard = guard(folder)
    const common = ['--no-defaults', `--datadir=${data}`, `--tmpdir=${folder}`]
    try {
      await run(
        'mariadb-install-db',
        [...common, '--auth-root-authentication-method=normal', '--skip-test-db'],
        { ...unprivileged(), cwd: folder, env: { PATH: process.env.PATH, HOME: folder } },
      )
    } catch (error) {
      await unguard()
      throw new SetUpError(`mariadb-install-db failed:\n${(error as { stderr?: string }).stderr ?? error}`)
    }
    const port = await freePort()
    const settings = [
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      `--socket=${path.join(folder, 'socket')}`,
      '--max-connections=300',
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-doublewrite=0',
      '--innodb-flush-method=nosync',
      '--skip-name-resolve',
    ]
    const stopServer = await startServer(program, [...common, ...settings], folder)
    const stop = async () => {
      await stopServer()
      await unguard()
    }
    return { env: { TEST_MARIADB_URL: `mysql://root@127.0.0.1:${port}` }, stop }
  },

  async use(url: string) {
    const connection = await createConnection({ uri: url, connectTimeout: 5000 })
    await connection.end()
    return { env: { TEST_MARIADB_URL: url }, stop: async () => {} }
  },
}
