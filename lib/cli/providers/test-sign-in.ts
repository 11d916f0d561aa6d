import { setTimeout } from 'node:timers/promises'
import type { Command } from 'commander'
import { type Common, on, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, progress } from '../output.ts'

type Outcome = 'passed' | 'failed' | 'expired'

const outcomeTexts: Record<Outcome, string> = {
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
    .action((slug: string, flags: Common & { wait: boolean }) =>
      withSsoContext(async (context) => {
        const link = await begin(context, slug, flags)
        if (!flags.wait) return
        const outcome = await outcomeOf(context, link, flags)
        if (flags.json) printJson({ outcome }, 0)
        else print(outcomeTexts[outcome])
        if (outcome !== 'passed') process.exitCode = 1
        else if (!flags.json) print(`Next, run \`portal-sso providers enable ${slug}${on(flags.portal)}\`.`)
      }),
    )
}

/** Shows the link and waits for the outcome. */
export async function testSignIn(context: SsoContext, slug: string, flags: Common): Promise<Outcome> {
  const outcome = await outcomeOf(context, await begin(context, slug, flags), flags)
  print(outcomeTexts[outcome])
  return outcome
}

interface TestLink {
  token: string
  expiresAt: Date
}

async function begin({ sso, actor }: SsoContext, slug: string, { portal, json }: Common): Promise<TestLink> {
  const { url, ...link } = await sso.testSignIns.link(slug, { portal, actor })
  const until = link.expiresAt.toISOString()
  if (json) printJson({ url, expiresAt: until }, 0)
  else print(`Open this link in your browser. It works once, until ${until}:\n  ${url}`)
  return link
}

async function outcomeOf(
  { sso }: SsoContext,
  { token, expiresAt }: TestLink,
  flags: Common,
): Promise<Outcome> {
  progress(flags, 'Waiting for the test sign-in … (Ctrl-C only stops waiting)')
  // The link may be opened at the last moment; the attempt then expires by itself.
  const deadline = expiresAt.getTime() + 20 * 60_000
  while (Date.now() < deadline) {
    const outcome = await sso.testSignIns.outcome(token)
    if (outcome !== 'waiting') return outcome
    await setTimeout(500)
  }
  return 'expired'
}
