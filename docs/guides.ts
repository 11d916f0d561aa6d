/**
 * `npm run guides`: renders the guides in `docs/providers` for the admin pages.
 * The output is committed, so that a clone runs without a build. A test fails if it is out of date.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import ejs from 'ejs'
import { Marked, type Tokens } from 'marked'
import type { PortalUrlName } from '../lib/providers/presets/preset.ts'
import { presets } from '../lib/providers/presets/presets.ts'

const sourceFolder = path.resolve(import.meta.dirname, 'providers')
const targetFolder = path.resolve(import.meta.dirname, '../views/admin/guides')

const marked = new Marked({
  // The admin page prints guides unescaped, so raw HTML in the Markdown is treated as text.
  tokenizer: { html: () => undefined, tag: () => undefined },
  renderer: {
    heading({ depth, tokens }) {
      // The page that shows the guide has the title.
      if (depth === 1) return ''
      const name = `h${Math.min(depth, 3)}`
      return `<${name}>${this.parser.parseInline(tokens)}</${name}>\n`
    },
    code: ({ text }) => `<pre class="admin-code"><code>${ejs.escapeXML(text)}</code></pre>\n`,
    table({ header, rows }) {
      const row = (cells: Tokens.TableCell[]) =>
        `<tr>${cells.map((cell) => this.tablecell(cell)).join('')}</tr>`
      const names = header.map(({ tokens }) => this.parser.parseInline(tokens, this.parser.textRenderer))
      const label = ejs.escapeXML(names.join(', '))
      return [
        `<div class="admin-scroll" role="region" aria-label="${label}" tabindex="0">`,
        `<table class="admin-table">\n<thead>${row(header)}</thead>`,
        `<tbody>\n${rows.map(row).join('\n')}\n</tbody>\n</table>\n</div>\n`,
      ].join('\n')
    },
    tablecell({ header, tokens }) {
      const text = this.parser.parseInline(tokens)
      return header ? `<th scope="col">${text}</th>` : `<td>${text}</td>`
    },
    link({ href, tokens }) {
      const text = this.parser.parseInline(tokens)
      const target = linkTarget(href)
      return target ? `<a class="admin-link" href="${target}">${text}</a>` : text
    },
    image: ({ text }) => ejs.escapeXML(text),
    hr: () => '',
  },
})

/** Other guides are admin pages. Other files of the repository have no page in a portal, so links to them become text. */
function linkTarget(href: string): string | undefined {
  if (href.startsWith('https://')) return ejs.escapeXML(href)
  const preset = presets.find(({ name }) => `${name}.md` === href)
  return preset && `<%= base %>/new/${preset.name}/guide`
}

const urlNames: Readonly<Record<string, PortalUrlName>> = {
  'Redirect URI': 'redirectUri',
  'Post-logout redirect URI': 'postLogoutRedirectUri',
  'Back-channel logout URI': 'backChannelLogoutUri',
  'Front-channel logout URI': 'frontChannelLogoutUri',
}

const exampleUrls: Readonly<Record<string, PortalUrlName>> = {
  'login/*/callback': 'redirectUri',
  'login/*/admin-consent/callback': 'adminConsentUri',
  'logout/done': 'postLogoutRedirectUri',
  'logout/*/backchannel': 'backChannelLogoutUri',
  'logout/*/frontchannel': 'frontChannelLogoutUri',
}

/**
 * Replaces example URLs, and adds URLs after their names: the guide shows those of the reader's portal.
 *
 * @returns an EJS template that reads only `base` and `guideUrls`: escaping turns `<%` in the Markdown into text
 */
export function renderGuide(markdown: string): string {
  const url = (name: string) =>
    `<code data-template="<%= guideUrls.${name}.template %>"><%= guideUrls.${name}.value %></code>`
  const names = Object.keys(urlNames).join('|')
  return marked
    .parse(markdown, { async: false })
    .replace(/<code>https:\/\/portal\.example\.com\/([\w/-]+)<\/code>/g, (code, path: string) => {
      const name = exampleUrls[path.replace(/^(login|logout)\/[^/]+(?=\/)/, '$1/*')]
      return name ? url(name) : code
    })
    .replace(
      new RegExp(`\\bthe\\s+<strong>(${names})</strong>(?:\\s+of the portal)?`, 'g'),
      (text, name: string) => `${text} ${url(urlNames[name] as string)}`,
    )
}

/** File name in `views/admin/guides` → content. */
export function renderGuides(): Map<string, string> {
  return new Map(
    presets.map(({ name }) => [
      `${name}.ejs`,
      renderGuide(readFileSync(path.join(sourceFolder, `${name}.md`), 'utf8')),
    ]),
  )
}

if (process.argv[1] === import.meta.filename) {
  rmSync(targetFolder, { recursive: true, force: true })
  mkdirSync(targetFolder, { recursive: true })
  for (const [file, text] of renderGuides()) writeFileSync(path.join(targetFolder, file), text)
}
