/**
 * `npm run guides`: renders the guides in `docs/providers` for the admin pages.
 * The output is committed, so that a clone runs without a build. A test fails if it is out of date.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import ejs from 'ejs'
import { Marked, type Tokens } from 'marked'
import { presets } from '../lib/providers/presets/presets.ts'

const sourceFolder = path.resolve(import.meta.dirname, 'providers')
const targetFolder = path.resolve(import.meta.dirname, '../views/admin/guides')

const marked = new Marked({
  // The admin page prints guides unescaped, so raw HTML in the Markdown is treated as text.
  tokenizer: { html: () => undefined, tag: () => undefined },
  renderer: {
    heading({ depth, tokens }) {
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

/** @returns an EJS template that reads only `base`: escaping turns `<%` in the Markdown into text */
export function renderGuide(markdown: string): string {
  return marked.parse(markdown, { async: false })
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
