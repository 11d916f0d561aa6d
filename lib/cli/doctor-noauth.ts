import { Command } from 'commander'
import type { Check, Provider } from '../providers/provider.ts'
import { type SsoContext, withSsoContext } from './environment.ts'
import { simulateAttacks } from './noauth-attacks.ts'
import { printCheck, printHeading, printJson } from './output.ts'

interface NoauthFlags {
  portal?: string
  json?: boolean
}

type AttackedProvider = Pick<Provider, 'portal' | 'slug' | 'displayName' | 'enabled'> & { checks: Check[] }

export function doctorNoauthCommand(): Command {
  return new Command('noauth')
    .description(
      "simulate sign-ins with someone else's e-mail address (nOAuth) against the settings of every provider",
    )
    .option('--portal <name>', 'portal to check; default: all')
    .option('--json', 'print JSON, for scripts')
    .addHelpText(
      'after',
      `
Nothing is sent or changed. The exit code is 1 if a provider would let an attack through.

Example:
  $ portal-sso doctor noauth --json | jq '.[] | select(any(.checks[]; .result == "failed")) | .slug'`,
    )
    .action((flags: NoauthFlags) => withSsoContext((context) => doctorNoauth(context, flags)))
}

/** Includes disabled providers, so that problems are found before they are enabled. */
async function doctorNoauth({ knex, sso }: SsoContext, { portal, json }: NoauthFlags): Promise<void> {
  const portals = portal
    ? [portal]
    : await knex('sso_providers').distinct('portal').orderBy('portal').pluck('portal')
  const providers = (
    await Promise.all(portals.map((name: string) => sso.providers.list({ portal: name })))
  ).flat()
  const attacked = providers.map((provider): AttackedProvider => {
    const { slug, displayName, enabled } = provider
    return { portal: provider.portal, slug, displayName, enabled, checks: simulateAttacks(provider) }
  })
  const vulnerable = attacked.filter(({ checks }) => checks.some(({ result }) => result === 'failed'))
  if (vulnerable.length > 0) process.exitCode = 1
  if (json) return printJson(attacked)
  if (attacked.length === 0) return console.log('No provider is connected, so there is nothing to check.')
  attacked.forEach(printAttacked)
  console.log(
    vulnerable.length === 0
      ? '\nNo provider lets an attack through.'
      : `\nThese providers let an attack through: ${vulnerable.map(({ slug }) => slug).join(', ')}.`,
  )
}

function printAttacked({ portal, slug, displayName, enabled, checks }: AttackedProvider): void {
  const ofPortal = portal === 'default' ? '' : ` of portal ${portal}`
  printHeading(`Provider ${slug}${ofPortal} (${displayName}${enabled ? '' : ', disabled'})`)
  const printedHints = new Set<string>()
  for (const { hint, ...check } of checks) {
    // Many attacks share a hint, so print it once.
    printCheck(hint === undefined || printedHints.has(hint) ? check : { ...check, hint })
    if (hint !== undefined) printedHints.add(hint)
  }
}
