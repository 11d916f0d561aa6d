/**
 * `npm run reference`: writes docs/options.md from the comments of the options, docs/settings.md from the table of settings,
 * docs/templates.md from the types of the templates' values, and docs/examples.md from the host applications that `npm run test:hosts` installs and runs.
 * The output is committed, so that readers find it in the repository. A test fails if it is out of date.
 */
import fs from 'node:fs'
import path from 'node:path'
import { settingEntries } from '../lib/providers/settings.ts'

const root = path.resolve(import.meta.dirname, '..')

/** The interfaces that make up the options: the option, its interface, and the file in `lib/` that declares it. */
const interfaces: readonly (readonly [option: string, name: string, file: string])[] = [
  ['', 'PortalSsoOptions', 'options.ts'],
  ['session', 'SessionLimits', 'sessions/session-limits.ts'],
  ['session', 'SessionOptions', 'options.ts'],
  ['branding', 'Branding', 'web/branding.ts'],
  ['picker', 'PickerOptions', 'sign-in/picker-route.ts'],
  ['registrationFields', 'RegistrationField', 'registration/registration-form.ts'],
  ['linking', 'LinkingOptions', 'options.ts'],
  ['rateLimits', 'RateLimits', 'web/rate-limit.ts'],
  ['outbound', 'OutboundSettings', 'oidc/http-client.ts'],
  ['events', 'EventSettings', 'events/event-log.ts'],
  ['secretReferences', 'SecretReferenceOptions', 'providers/secret-references.ts'],
]

interface Member {
  name: string
  text: string
}

/** @returns the members of an interface with their comments. Throws for a member without a comment. */
function readInterface(name: string, file: string): Member[] {
  const source = fs.readFileSync(path.join(root, 'lib', file), 'utf8')
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n(.*?)^\\}`, 'ms').exec(source)?.[1]
  if (body === undefined) throw new Error(`${file} has no interface ${name}`)
  const members = [...body.matchAll(/^ {2}(?:\/\*\*(.*?)\*\/\s+)?(?:readonly )?(\w+)\??[:(<]/gms)]
  return members.map(([, comment, member = '']) => {
    if (comment === undefined) throw new Error(`${name}.${member} has no comment`)
    return { name: member, text: plain(comment) }
  })
}

/** The comment's text in one line. */
function plain(comment: string): string {
  return comment
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .trim()
}

function toTable(columns: string[], rows: string[][]): string {
  const row = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [row(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(row)].join('\n')
}

/** @returns the page of the options of `createPortalSso` */
export function optionsPage(): string {
  const sections = new Map<string, string[][]>()
  for (const [option, name, file] of interfaces) {
    const rows = readInterface(name, file).map((member) => [`\`${member.name}\``, member.text])
    sections.set(option, [...(sections.get(option) ?? []), ...rows])
  }
  const tables = [...sections].map(([option, rows]) => {
    const table = toTable(['option', 'meaning'], rows)
    return option ? `## \`${option}\`\n\n${table}` : table
  })
  const intro = [
    '# Options',
    'The options of `createPortalSso`. Only `baseUrl`, `secret` and `database` are required. An invalid option fails at start with an\nerror that says what to write.',
    'This page is generated from the comments in the code: `npm run reference`.',
  ]
  return `${[...intro, ...tables].join('\n\n')}\n`
}

/** @returns the page of what the templates receive */
export function templatesPage(): string {
  const file = 'web/view-locals.ts'
  const source = fs.readFileSync(path.join(root, 'lib', file), 'utf8')
  const [, list = ''] = /^export interface ViewLocals \{\n(.*?)^\}/ms.exec(source) ?? []
  const sections = [...list.matchAll(/^ {2}'?([\w-]+)'?: (\w+)$/gm)].map(([, view, name = '']) => {
    const [, parent] = new RegExp(`^export interface ${name} extends (\\w+)`, 'm').exec(source) ?? []
    const members = [...(parent ? readInterface(parent, file) : []), ...readInterface(name, file)]
    const rows = members.map((member) => [`\`${member.name}\``, member.text])
    return `## \`${view}.ejs\`\n\n${toTable(['local', 'meaning'], rows)}`
  })
  const intro = [
    '# Templates',
    'Templates in your [`viewsDir`](branding.md#your-own-templates) replace those of the same name in `views/`. Each receives the locals\nof its section, and these:',
    toTable(
      ['local', 'meaning'],
      [
        ['`t(key, values)`', 'A text of `views/locales` in the language of the page.'],
        ['`lang`', 'The language of the page, such as `de`.'],
        [
          '`branding`',
          'The option `branding` in this language, and `supportHref`, the URL of the support contact.',
        ],
        ['`asset(file)`', 'The URL of a file in `views/assets`.'],
        ['`languages`', 'The language menu; absent on pages that a link cannot show again.'],
      ],
    ),
    'A partial receives the locals of the page that includes it. The templates of the administrators’ pages (`admin/`) are not\ndescribed: they can change with each version.',
    'This page is generated from `lib/web/view-locals.ts`: `npm run reference`.',
  ]
  return `${[...intro, ...sections].join('\n\n')}\n`
}

/** @returns the page of the settings of a provider */
export function settingsPage(): string {
  const comments = new Map(readSettingComments().map(({ name, text }) => [name, text]))
  const rows = settingEntries().map(([name, { flag, affectsSignIn = true, choices, presets }]) => {
    const text = comments.get(name)
    if (text === undefined) throw new Error(`the setting ${name} has no comment`)
    const values = choices ? ` One of ${choices.map((choice) => `\`${choice}\``).join(', ')}.` : ''
    const only = presets ? ` Only for the preset ${presets.join(', ')}.` : ''
    return [`\`${name}\``, `\`${flag}\``, text + values + only, affectsSignIn ? 'yes' : 'no']
  })
  const intro = [
    '# Provider settings',
    'The settings of a provider. Code and export files use the name in the first column, the command line uses the flag, and the\nform on the admin pages has a field for each of them, except `clientSecretReference`. A preset fills in what its vendor requires.',
    'A change that affects sign-ins needs a new test sign-in before the provider can be enabled again.',
    'This page is generated from `lib/providers/settings.ts`: `npm run reference`.',
    toTable(['setting', 'flag', 'meaning', 'affects sign-ins'], rows),
  ]
  return `${intro.join('\n\n')}\n`
}

function readSettingComments(): Member[] {
  const source = fs.readFileSync(path.join(root, 'lib/providers/settings.ts'), 'utf8')
  return [...source.matchAll(/^ {2}\/\*\*((?:(?!\*\/).)*)\*\/\s+(\w+): setting\(/gms)].map(
    ([, comment = '', name = '']) => ({ name, text: plain(comment) }),
  )
}

/** The host applications that are good examples: title, sentence, and files in `test/hosts/`. */
const examples: readonly (readonly [title: string, sentence: string, ...files: string[]])[] = [
  [
    'Your own table of users',
    'The users are rows of your own table, here with Knex, numeric IDs and passwords of an earlier login.',
    'variations/own-users.js',
  ],
  [
    'Your own express-session and Passport',
    'The session belongs to the host, and passport-local signs users in until a provider is enabled.',
    'own-session/host.js',
  ],
  [
    'Behind nginx',
    'nginx terminates TLS and sends `X-Forwarded-Proto` and `X-Forwarded-For`. Its default buffers are large enough.',
    'behind-nginx/host.js',
  ],
  [
    'NestJS',
    'The plugin is a provider of the module, and its middleware runs before the controllers.',
    'nest/main.ts',
  ],
  [
    'Several portals by host name',
    'Each portal has its own providers, users, sessions and events. To connect a provider from the command line, name the portal and\nits URL: `BASE_URL=https://north.example.com portal-sso providers add entra --portal north`.',
    'variations/several-portals.js',
  ],
  [
    'Two instances in one app',
    'Staff and customers sign in separately, each below a path of their own.',
    'two-instances/host.js',
  ],
  [
    'A page of your own',
    'The folder `viewsDir` has one template, `views/signed-out.ejs`. It replaces our page after the sign-out. All other pages stay.\n[Branding](branding.md#your-own-templates) lists the templates and what they receive.',
    'variations/own-page.js',
    'variations/views/signed-out.ejs',
  ],
  [
    'Shutdown',
    'Nobody sees a deployment: the portal finishes the responses in flight, and then closes its connections.',
    'variations/shutdown.js',
  ],
  [
    'TypeScript',
    'The type of `req.user` is declared once. The `tsconfig.json` needs `"module": "nodenext"` or `node20`.',
    'express-5-typescript/host.ts',
  ],
  [
    'A provider on your own machine',
    'To try a sign-in without an account at a provider. It accepts every login name and password, so never use it for a real portal.\nEnter your e-mail address as the login name.',
    'readme/provider.mjs',
  ],
]

function exampleFile(file: string): string {
  const code = fs.readFileSync(path.join(root, 'test/hosts', file), 'utf8').trim()
  const language = path.extname(file).slice(1).replace('mjs', 'js')
  return `\`\`\`${language} run\n${code}\n\`\`\``
}

/** @returns the packages that a file imports, for `npm install` */
function packagesOf(file: string): string[] {
  const code = fs.readFileSync(path.join(root, 'test/hosts', file), 'utf8')
  const manifest = path.join(root, 'test/hosts', path.dirname(file), 'package.json')
  const { dependencies } = JSON.parse(fs.readFileSync(manifest, 'utf8')) as {
    dependencies: Record<string, string>
  }
  const isUsed = (name: string) =>
    code.includes(`'${name}'`) || (name === 'pg' && code.includes('DATABASE_URL'))
  return Object.keys(dependencies).filter(isUsed)
}

/** @returns the page of complete examples */
export function examplesPage(): string {
  const sections = examples.flatMap(([title, sentence, ...files]) => {
    const [main = ''] = files
    const uses = fs.readFileSync(path.join(root, 'test/hosts', main), 'utf8').includes('express-portal-sso')
    const packages = [...(uses ? ['express-portal-sso'] : []), ...packagesOf(main)]
    return [`## ${title}`, sentence, `\`npm install ${packages.join(' ')}\``, ...files.map(exampleFile)]
  })
  const intro = [
    '# Examples',
    'Complete applications. `npm run test:hosts` installs each of them with the packed plugin, and signs a user in and out. They connect\ntheir provider at the first start, which a real portal leaves to its administrators. Their settings are environment variables. To\nuse the provider on your own machine, set these:',
    '```sh\nexport BASE_URL=http://localhost:3000 PORT=3000 SSO_SECRET=$(openssl rand -base64 32)\nexport DATABASE_URL=postgres://localhost/portal REDIS_URL=redis://localhost:6379\nexport ISSUER=http://localhost:4000 CLIENT_ID=portal CLIENT_SECRET=only-for-this-machine\n```',
  ]
  return `${[...intro, ...sections].join('\n\n')}\n`
}

if (process.argv[1] === import.meta.filename) {
  fs.writeFileSync(path.join(root, 'docs/options.md'), optionsPage())
  fs.writeFileSync(path.join(root, 'docs/settings.md'), settingsPage())
  fs.writeFileSync(path.join(root, 'docs/examples.md'), examplesPage())
  fs.writeFileSync(path.join(root, 'docs/templates.md'), templatesPage())
}
