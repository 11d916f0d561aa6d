import type { Command } from 'commander'
import { type CommonFlags, subcommand } from '../command.ts'
import { withSsoContext } from '../environment.ts'
import { print, printJson, printResult, printTable } from '../output.ts'

export function addKeys(providers: Command): void {
  subcommand(
    providers,
    'keys <slug>',
    'show the public keys for private_key_jwt and the URL where the provider fetches them',
    'providers keys acme',
    'providers keys acme --rotate',
  )
    .option(
      '--rotate',
      'publish a new key now; it is used after one hour, and the old one stays published for one more day',
    )
    .action((slug: string, flags: CommonFlags & { rotate?: boolean }) =>
      withSsoContext(async ({ sso, actor }) => {
        const { portal } = flags
        if (flags.rotate) {
          const { kid, from } = await sso.providers.rotateClientKey(slug, { portal, actor })
          const sentence = `The key ${kid} is published. It signs from ${from}.`
          return printResult(flags, { slug, kid, from }, sentence)
        }
        const keys = await sso.providers.clientKeys(slug, { portal })
        const jwksUri = sso.providers.jwksUri(slug, { portal })
        if (flags.json) return printJson({ slug, jwksUri, keys })
        print(`JWKS URI  ${jwksUri}`)
        if (keys.length === 0)
          return console.log('There are no keys, because it does not authenticate with private_key_jwt.')
        printTable(
          ['KEY', 'ALGORITHM', 'STATE', 'SIGNS FROM'],
          keys.map(({ kid, alg, state, from }) => [kid, alg, state, from]),
        )
      }),
    )
}
