import { Argument, Command, Option } from 'commander'
import { presets } from '../providers/presets/presets.ts'
import { clientAuthentications, prompts, signingAlgorithms } from '../providers/provider.ts'
import type { ProviderInput } from '../providers/provider-input.ts'
import { ask, readSecret } from './ask.ts'
import { type Workbench, withWorkbench } from './environment.ts'
import { printCheck, printTable } from './print.ts'

interface AddFlags {
  slug?: string
  name?: string
  issuer?: string
  tenant?: string
  clientId?: string
  clientSecretFile?: string
  public?: boolean
  clientAuthentication?: ProviderInput['clientAuthentication']
  signingAlgorithm?: ProviderInput['signingAlgorithm']
  responseMode?: ProviderInput['responseMode']
  prompt?: ProviderInput['prompt']
  emailClaim?: string
  trustsEmail?: boolean
  emailDomain?: string[]
  disabled?: boolean
  portal: string
}

interface PortalFlag {
  portal: string
}

const portalFlag = () => new Option('--portal <name>', 'which portal').default('default')

export function providersCommand(): Command {
  const command = new Command('providers').description('connect, test and change OpenID Providers')

  command
    .command('add')
    .description('connect a provider: check, discover, test, save')
    .addArgument(
      new Argument('[preset]', 'what to start from')
        .choices(presets.map(({ name }) => name))
        .default('generic'),
    )
    .option('--slug <slug>', 'name in addresses: /login/<slug>')
    .option('--name <text>', 'name on the login page')
    .option('--issuer <url>', 'issuer, exactly as the provider spells it')
    .option('--tenant <guid>', 'entra: Directory (tenant) ID')
    .option('--client-id <id>', 'client id from the provider')
    .option('--client-secret-file <file>', 'file that holds the client secret; - for standard input')
    .option('--public', 'a public client without a secret')
    .addOption(
      new Option(
        '--client-authentication <method>',
        'how the portal shows its secret; left out: chosen from what the provider offers',
      ).choices([...clientAuthentications]),
    )
    .addOption(
      new Option(
        '--signing-algorithm <alg>',
        'how ID tokens are signed; left out: chosen from what the provider offers',
      ).choices([...signingAlgorithms]),
    )
    .addOption(
      new Option('--response-mode <mode>', 'how the answer comes back; left out: query').choices([
        'query',
        'form_post',
      ]),
    )
    .addOption(
      new Option('--prompt <prompt>', 'what the provider asks each time; left out: up to it').choices([
        ...prompts,
      ]),
    )
    .option('--email-claim <claim>', 'claim that holds the address to match')
    .option('--trusts-email', 'every address from this provider belongs to the person (your word for it)')
    .option('--email-domain <domain...>', 'domains this provider may vouch for')
    .option('--disabled', 'connect without showing it yet')
    .addOption(portalFlag())
    .action((preset: string, flags: AddFlags) => withWorkbench((workbench) => add(workbench, preset, flags)))

  command
    .command('list')
    .description('all providers of a portal')
    .option('--json', 'for scripts')
    .addOption(portalFlag())
    .action((flags: PortalFlag & { json?: boolean }) =>
      withWorkbench(async ({ sso }) => {
        const providers = await sso.providers.list(flags.portal)
        if (flags.json) return console.log(JSON.stringify(providers, null, 2))
        if (providers.length === 0)
          return console.log('No provider is connected. Connect one with `portal-sso providers add`.')
        printTable(
          ['SLUG', 'NAME', 'ENABLED', 'RECOMMENDED', 'ISSUER'],
          providers.map(({ slug, displayName, enabled, recommended, issuer }) => [
            slug,
            displayName,
            enabled ? 'yes' : 'no',
            recommended ? 'yes' : '',
            issuer,
          ]),
        )
      }),
    )

  command
    .command('test')
    .description('test a connected provider, changing nothing')
    .argument('<slug>')
    .addOption(portalFlag())
    .action((slug: string, flags: PortalFlag) =>
      withWorkbench(async ({ sso }) => {
        const { ok, checks } = await sso.providers.test(slug, flags.portal)
        checks.forEach(printCheck)
        if (!ok) process.exitCode = 1
      }),
    )

  const change = (
    name: string,
    description: string,
    done: string,
    act: (w: Workbench, slug: string, portal: string) => Promise<void>,
  ) =>
    command
      .command(name)
      .description(description)
      .argument('<slug>')
      .addOption(portalFlag())
      .action((slug: string, flags: PortalFlag) =>
        withWorkbench(async (workbench) => {
          await act(workbench, slug, flags.portal)
          console.log(`${slug} ${done}`)
        }),
      )
  change(
    'enable',
    'show it on the login page',
    'is enabled; it is on the login page from now on',
    ({ sso }, slug, portal) => sso.providers.enable(slug, { portal, by: 'cli' }),
  )
  change(
    'disable',
    'take it off the login page',
    'is disabled; nobody can sign in with it from now on',
    ({ sso }, slug, portal) => sso.providers.disable(slug, { portal, by: 'cli' }),
  )
  change('recommend', 'show it first, with a badge', 'is recommended', ({ sso }, slug, portal) =>
    sso.providers.recommend(slug, { portal, by: 'cli' }),
  )
  change('remove', 'forget it; users and links stay', 'is removed', ({ sso }, slug, portal) =>
    sso.providers.remove(slug, { portal, by: 'cli' }),
  )
  return command
}

async function add({ sso }: Workbench, preset: string, flags: AddFlags): Promise<void> {
  const slug =
    flags.slug ??
    (preset === 'generic' ? await ask('Short name for addresses, such as acme', '--slug') : preset)
  console.log(`To enter at the provider:
  Redirect URI              ${sso.providers.redirectUri(slug, flags.portal)}
  Post-logout redirect URI  ${sso.providers.postLogoutRedirectUri(flags.portal)}
  Back-channel logout URI   ${sso.providers.backChannelLogoutUri(slug, flags.portal)}`)
  const needsTenant = preset === 'entra'
  const input: ProviderInput = {
    slug,
    preset,
    portal: flags.portal,
    enabled: !flags.disabled,
    displayName: flags.name,
    issuer: flags.issuer ?? (needsTenant ? undefined : await ask('Issuer', '--issuer')),
    clientId: flags.clientId ?? (await ask('Client id', '--client-id')),
    clientAuthentication: flags.public ? 'none' : flags.clientAuthentication,
    signingAlgorithm: flags.signingAlgorithm,
    responseMode: flags.responseMode,
    prompt: flags.prompt,
    emailClaim: flags.emailClaim,
    trustsEmail: flags.trustsEmail,
    emailDomains: flags.emailDomain,
    ...(needsTenant && { tenant: flags.tenant ?? (await ask('Directory (tenant) ID', '--tenant')) }),
    clientSecret: flags.public ? undefined : await clientSecret(flags),
  }
  console.log('Testing the provider …')
  await sso.providers.connect(input, 'cli')
  const { checks } = await sso.providers.test(slug, flags.portal)
  checks.forEach(printCheck)
  console.log(
    flags.disabled ? `${slug} is connected, not enabled yet.` : `${slug} is connected and on the login page.`,
  )
}

/** Never from the argument list, where every process on the machine can read it. */
async function clientSecret(flags: AddFlags): Promise<string> {
  if (flags.clientSecretFile !== undefined) return readSecret(flags.clientSecretFile)
  const fromEnvironment = process.env.PORTAL_SSO_CLIENT_SECRET
  if (fromEnvironment) return fromEnvironment
  return await ask('Client secret', '--client-secret-file (or --public for a client without one)', {
    hidden: true,
  })
}
