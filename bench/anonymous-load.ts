/**
 * Prints a Markdown table: how long a sign-in takes while one client address, then three, send made-up codes at the limit of
 * 2,000 a minute. The provider is honest but slow: it needs 1.8 seconds for each token response.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { type Faults, startFaultyProvider } from '../test/support/faulty-provider.ts'
import { mountDefault, startPortal } from '../test/support/portal.ts'
import { Visitor } from '../test/support/visitor.ts'

const tokenDelayMs = 1800
const codesPerSecond = 32
const loadSeconds = 12
const signIns = 5

const provider = await startFaultyProvider()
Object.defineProperty(provider.faults, 'tokenWaitsFor' satisfies keyof Faults, {
  get: () => wait(tokenDelayMs),
})
// Each attacker has its own address, as behind a trusted proxy.
const portal = await startPortal({
  rateLimits: {},
  mount(app, sso) {
    app.set('trust proxy', 'loopback')
    mountDefault(app, sso)
  },
})
await portal.connect(provider)
await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
const from = (address: string) => new Visitor({ 'x-forwarded-for': address })

/** Starts a sign-in and sends a made-up code in place of the provider's. @returns the status */
async function sendMadeUpCode(address: string): Promise<number> {
  const visitor = from(address)
  const { location = '' } = await visitor.get(`${portal.url}/login/acme`)
  const state = new URL(location).searchParams.get('state') ?? ''
  const parameters = new URLSearchParams({ code: 'made-up', state, iss: provider.issuer })
  return (await visitor.get(`${portal.url}/login/acme/callback?${parameters}`)).status
}

/** Sends codes until the signal is aborted. @returns how many were sent, and how many of them the portal exchanged */
async function attack(address: string, signal: AbortSignal): Promise<{ sent: number; refused: number }> {
  const statuses: Promise<number>[] = []
  while (!signal.aborted) {
    statuses.push(sendMadeUpCode(address).catch(() => 0))
    await wait(1000 / codesPerSecond)
  }
  const refused = (await Promise.all(statuses)).filter((status) => status === 429).length
  return { sent: statuses.length, refused }
}

async function measureSignIn(address: string): Promise<{ seconds: number; status: number }> {
  const started = performance.now()
  const { status } = await from(address).open(`${portal.url}/login/acme?returnTo=/portal`)
  return { seconds: (performance.now() - started) / 1000, status }
}

const round = (seconds: number) => `${seconds.toFixed(1)} s`

console.log(
  '| attacking addresses | codes sent, refused with 429 | sign-ins that succeeded | median | slowest |',
)
console.log('|---|---|---|---|---|')
await measureSignIn('203.0.113.250')
for (const attackers of [0, 1, 3]) {
  const load = new AbortController()
  const attacks = Array.from({ length: attackers }, (_, n) => attack(`198.51.${attackers}.${n}`, load.signal))
  await wait(attackers === 0 ? 0 : loadSeconds * 1000)
  const measured: Awaited<ReturnType<typeof measureSignIn>>[] = []
  for (let n = 0; n < signIns; n++) measured.push(await measureSignIn(`203.0.${attackers}.${n}`))
  load.abort()
  const [sent, refused] = (await Promise.all(attacks)).reduce(
    ([allSent, allRefused], each) => [allSent + each.sent, allRefused + each.refused],
    [0, 0],
  )
  const succeeded = measured.filter(({ status }) => status === 200).length
  const seconds = measured.map((each) => each.seconds).sort((a, b) => a - b)
  const [median = 0, slowest = 0] = [seconds[Math.floor(signIns / 2)], seconds.at(-1)]
  console.log(
    `| ${attackers} | ${sent}, ${refused} | ${succeeded} of ${signIns} | ${round(median)} | ${round(slowest)} |`,
  )
}
await portal.close()
await provider.close()
