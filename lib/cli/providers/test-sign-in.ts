import { setTimeout } from 'node:timers/promises'
import type { Command } from 'commander'
import { type CommonFlags, portalFlag, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, printProgress } from '../output.ts'

type TestOutcome = 'passed' | 'failed' | 'expired'

const attemptTtlMs = 20 * 60_000
const pollIntervalMs = 500

const outcomeTexts: Record<TestOutcome, string> = {
  passed: 'The test sign-in passed.',
  failed: 'The test sign-in failed. The page in the browser shows what is wrong and what to do.',
  expired: 'The link expired before a test sign-in.',
}

export function addTestSignIn(providers: Command): void {
  subcommand(
    providers,
    'test-sign-in <slug>',
    'test a real sign-in in your browser; shows a report, and nobody is signed in',
    'providers test-sign-in acme',
    'providers test-sign-in acme --no-wait --json',
  )
    .option(
      '--no-wait',
      'print the link and exit; without it, --json prints one line for the link and one for the outcome',
    )
    .action((slug: string, flags: CommonFlags & { wait: boolean }) =>
      withSsoContext(async (context) => {
        const link = await createLink(context, slug, flags)
        if (!flags.wait) return
        const outcome = await waitForOutcome(context, link, flags)
        if (flags.json) printJson({ outcome }, 0)
        else print(outcomeTexts[outcome])
        if (outcome !== 'passed') process.exitCode = 1
        else if (!flags.json)
          print(`Next, run \`portal-sso providers enable ${slug}${portalFlag(flags.portal)}\`.`)
      }),
    )
}

/** Prints the link and waits for the outcome. */
export async function testSignIn(
  context: SsoContext,
  slug: string,
  flags: CommonFlags,
): Promise<TestOutcome> {
  const outcome = await waitForOutcome(context, await createLink(context, slug, flags), flags)
  print(outcomeTexts[outcome])
  return outcome
}

interface TestLink {
  token: string
  expiresAt: Date
}

async function createLink(
  { sso, actor }: SsoContext,
  slug: string,
  { portal, json }: CommonFlags,
): Promise<TestLink> {
  const { url, ...link } = await sso.testSignIns.link(slug, { portal, actor })
  const until = link.expiresAt.toISOString()
  if (json) printJson({ url, expiresAt: until }, 0)
  else print(`Open this link in your browser. It works once, until ${until}:\n  ${url}`)
  return link
}

async function waitForOutcome(
  { sso }: SsoContext,
  { token, expiresAt }: TestLink,
  flags: CommonFlags,
): Promise<TestOutcome> {
  printProgress(flags, 'Waiting for the test sign-in … (Ctrl-C only stops waiting)')
  // The link may be opened just before it expires. The attempt then takes its own time to expire.
  const deadline = expiresAt.getTime() + attemptTtlMs
  while (Date.now() < deadline) {
    const outcome = await sso.testSignIns.outcome(token)
    if (outcome !== 'waiting') return outcome
    await setTimeout(pollIntervalMs)
  }
  return 'expired'
}
