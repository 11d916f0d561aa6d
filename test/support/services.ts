import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { chromium } from './services/chromium.ts'
import { mariadb } from './services/mariadb.ts'
import { postgres } from './services/postgres.ts'
import { aptInstall, progress } from './services/programs.ts'
import { redis } from './services/redis.ts'
import { guard, SetUpError, type Stop, unprivileged } from './services/server.ts'

interface Running {
  env: Record<string, string>
  stop: Stop
}

interface Service {
  name: string
  /** The environment variable that gives the tests an existing server (for Chromium: a program). */
  variable: string
  debianPackage: string
  find(): Promise<string | undefined>
  start(program: string): Promise<Running>
  use(given: string): Promise<Running>
}

const services: Service[] = [redis, postgres, mariadb, chromium]
const and = new Intl.ListFormat('en')

async function startAll(): Promise<PromiseSettledResult<Running>[]> {
  const given = services.filter((service) => process.env[service.variable])
  const own = services.filter((service) => !process.env[service.variable])
  const programs = new Map<Service, string>()
  const search = async () => {
    await Promise.all(
      own.map(async (service) => {
        const program = programs.get(service) ?? (await service.find())
        if (program) programs.set(service, program)
      }),
    )
    return own.filter((service) => !programs.has(service))
  }

  let missing = await search()
  if (missing.length > 0) {
    const packages = missing.map((service) => service.debianPackage)
    const what = () =>
      `The tests need ${and.format(missing.map((service) => service.name))}: install ${and.format(
        packages,
      )} (sudo apt-get install ${packages.join(' ')}) or set ${and.format(
        missing.map((service) => service.variable),
      )}.`
    await aptInstall(packages, what())
    missing = await search()
    if (missing.length > 0) throw new SetUpError(what())
  }

  if (own.length > 0) progress(`Starting ${and.format(own.map((service) => service.name))} for the tests`)
  return Promise.allSettled([
    ...own.map((service) => service.start(programs.get(service)!)),
    ...given.map((service) =>
      service.use(process.env[service.variable]!).catch((error: Error) => {
        // Node's error for a host with several addresses has only a code.
        const reason = error.message || String((error as NodeJS.ErrnoException).code)
        throw new SetUpError(`${service.variable} gives no working ${service.name}: ${reason}.`)
      }),
    ),
  ])
}

/** Runs Redis, PostgreSQL and Chromium, with their addresses in the environment, until `stop` is called. */
export async function startServices(): Promise<Stop> {
  const before = { ...process.env }
  // Contains all files of this run, including those that tests do not remove. The servers' user needs access.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-tests-'))
  const removeFolder = guard(folder)
  if (unprivileged()) fs.chmodSync(folder, 0o711)
  process.env.TMPDIR = folder
  process.env.TEST_RUN_FOLDER = folder

  const stops: Stop[] = []
  const stop = async () => {
    await Promise.all(stops.map((stopOne) => stopOne()))
    await removeFolder()
    for (const name of [
      'TMPDIR',
      'TEST_RUN_FOLDER',
      'TEST_REDIS_URL',
      'TEST_DATABASE_URL',
      'TEST_MARIADB_URL',
      'TEST_BROWSER_WS',
    ]) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  }
  try {
    const failures: Error[] = []
    for (const result of await startAll()) {
      if (result.status === 'rejected') failures.push(result.reason)
      else {
        stops.push(result.value.stop)
        Object.assign(process.env, result.value.env)
      }
    }
    if (failures.length > 0) throw new SetUpError(failures.map(({ message }) => message).join('\n'))
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}
