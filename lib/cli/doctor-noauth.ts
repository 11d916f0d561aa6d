import { Command } from 'commander'
import type { Check, Provider } from '../providers/provider.ts'
import { type Workbench, withWorkbench } from './environment.ts'
import { playNoauth } from './noauth-attacks.ts'
import { printCheck, printHeading, printJson } from './print.ts'

interface Flags {
  portal?: string
  json?: boolean
}

type Played = Pick<Provider, 'portal' | 'slug' | 'displayName' | 'enabled'> & { checks: Check[] }

export function doctorNoauthCommand(): Command {
  return new Command('noauth')
    .description(
      "play the attacks with somebody else's e-mail address against every provider, as it is set up here",
    )
    .option('--portal <name>', 'which portal; left out: all')
    .option('--json', 'for scripts')
    .addHelpText(
      'after',
      `
Nothing is sent or changed. Exit code 1: a row would let an attack through.

Example:
  $ portal-sso doctor noauth --json | jq '.[] | select(any(.checks[]; .result == "failed")) | .slug'`,
    )
    .action((flags: Flags) => withWorkbench((workbench) => doctorNoauth(workbench, flags)))
}

/** Disabled rows, too: it is better to know before they are enabled. */
async function doctorNoauth({ knex, sso }: Workbench, { portal, json }: Flags): Promise<void> {
  const portals = portal
    ? [portal]
    : await knex('sso_providers').distinct('portal').orderBy('portal').pluck('portal')
  const providers = (await Promise.all(portals.map((name: string) => sso.providers.list(name)))).flat()
  const played = providers.map((provider): Played => {
    const { slug, displayName, enabled } = provider
    return { portal: provider.portal, slug, displayName, enabled, checks: playNoauth(provider) }
  })
  const open = played.filter(({ checks }) => checks.some(({ result }) => result === 'failed'))
  if (open.length > 0) process.exitCode = 1
  if (json) return printJson(played)
  if (played.length === 0) return console.log('No provider is connected, so there is nothing to attack.')
  played.forEach(print)
  console.log(
    open.length === 0
      ? '\nNo row lets an attack through.'
      : `\nLet through by ${open.map(({ slug }) => slug).join(', ')}.`,
  )
}

function print({ portal, slug, displayName, enabled, checks }: Played): void {
  const where = portal === 'default' ? '' : ` of portal ${portal}`
  printHeading(`Provider ${slug}${where} (${displayName}${enabled ? '' : ', disabled'})`)
  const said = new Set<string>()
  for (const { remedy, ...check } of checks) {
    // Many attacks, one remedy: once is enough.
    printCheck(remedy === undefined || said.has(remedy) ? check : { ...check, remedy })
    if (remedy !== undefined) said.add(remedy)
  }
}
