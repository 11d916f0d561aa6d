import { setTimeout } from 'node:timers/promises'
import { type CommandContext, type PortalCommands, suggest } from '../command.ts'
import { print, printJson, printProgress } from '../output.ts'

type TestOutcome = 'passed' | 'failed' | 'expired'

const attemptTtlMs = 20 * 60_000
const pollIntervalMs = 500

const outcomeTexts: Record<TestOutcome, string> = {
  passed: 'The test sign-in passed.',
  failed: 'The test sign-in failed. The page in the browser shows what is wrong and what to do.',
  expired: 'The link expired before a test sign-in.',
}

export const testSignInCommands: PortalCommands = {
  'test-sign-in <slug>': {
    description: 'test a real sign-in in your browser; shows a report, and nobody is signed in',
    examples: ['providers test-sign-in acme', 'providers test-sign-in acme --no-wait --json'],
    options: {
      '--no-wait':
        'print the link and exit; without it, --json prints one line for the link and one for the outcome',
    },
    async run(context: CommandContext<{ wait: boolean }>, slug: string) {
      const { flags } = context
      const link = await printLink(context, slug)
      if (!flags.wait) return undefined
      const outcome = await waitForOutcome(context, link)
      const next =
        outcome === 'passed' ? `\nNext, run \`${suggest(`providers enable ${slug}`, flags)}\`.` : ''
      if (flags.json) printJson({ outcome }, 0)
      else print(outcomeTexts[outcome] + next)
      if (outcome !== 'passed') process.exitCode = 1
      return undefined
    },
  },
}

export async function testSignIn(context: CommandContext, slug: string): Promise<boolean> {
  const outcome = await waitForOutcome(context, await printLink(context, slug))
  print(outcomeTexts[outcome])
  return outcome === 'passed'
}

type TestLink = { token: string; expiresAt: Date }

async function printLink({ testSignIns, actor, flags }: CommandContext, slug: string): Promise<TestLink> {
  const link = await testSignIns.link(slug, { actor })
  const until = link.expiresAt.toISOString()
  if (flags.json) printJson({ url: link.url, expiresAt: until }, 0)
  else print(`Open this link in your browser. It works once, until ${until}:\n  ${link.url}`)
  return link
}

async function waitForOutcome({ testSignIns, flags }: CommandContext, link: TestLink): Promise<TestOutcome> {
  const { token, expiresAt } = link
  printProgress(flags, 'Waiting for the test sign-in … (Ctrl-C only stops waiting)')
  // The link may be opened just before it expires. The attempt then takes its own time to expire.
  const deadline = expiresAt.getTime() + attemptTtlMs
  while (Date.now() < deadline) {
    const outcome = await testSignIns.outcome(token)
    if (outcome !== 'waiting') return outcome
    await setTimeout(pollIntervalMs)
  }
  return 'expired'
}
