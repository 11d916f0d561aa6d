import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { renderGuide, renderGuides } from '../../docs/guides.ts'
import { presets } from '../../lib/providers/presets/presets.ts'

const folder = path.resolve(import.meta.dirname, '../../views/admin/guides')
const committed = () =>
  new Map(fs.readdirSync(folder).map((file) => [file, fs.readFileSync(path.join(folder, file), 'utf8')]))

const guidePages = presets.map(({ name }) => name).join('|')
const openingTags = [
  '(?:h[123]|p|ul|ol|li|em|strong|code|thead|tbody|tr|td)',
  'pre class="admin-code"',
  'div class="admin-scroll" role="region" aria-label="[^"<>]+" tabindex="0"',
  'table class="admin-table"',
  'th scope="col"',
  'code data-template="<%= guideUrls\\.\\w+\\.template %>"',
  `a class="admin-link" href="(?:https:\\/\\/[^"<>\\s]+|<%= base %>\\/new\\/(?:${guidePages})\\/guide)"`,
]
const closingTag = '\\/(?:h[123]|p|ul|ol|li|em|strong|code|thead|tbody|tr|td|pre|div|table|th|a)'
const allowedTag = new RegExp(`<(?:${openingTags.join('|')}|${closingTag})>`, 'g')

/** The lines of a guide that contain `<` or `>` after the allowed tags are removed. */
const forbiddenMarkup = (guide: string) =>
  guide
    .replace(/(?<=>)<%= guideUrls\.\w+\.value %>(?=<)/g, '')
    .replace(allowedTag, '')
    .match(/[^\n]*[<>][^\n]*/g) ?? []

describe('the rendered guides', () => {
  it('match the Markdown in docs/providers (if not, run `npm run guides`)', () => {
    expect(committed()).toEqual(renderGuides())
  })

  it.each(presets.map(({ name }) => [name]))('%s contains only allowed elements and links', (name) => {
    const guide = committed().get(`${name}.ejs`)!
    expect(guide).toMatch(/^<p>/)
    expect(guide).not.toContain('<h1>')
    expect(forbiddenMarkup(guide)).toEqual([])
  })
})

it.each(presets.map(({ name }) => [name]))(
  'the guide of %s ends the set-up with a test and with enabling',
  (name) => {
    const headings = [
      ...committed()
        .get(`${name}.ejs`)!
        .matchAll(/<h2>(?:\d\. )?(.*?)<\/h2>/g),
    ].map(([, text]) => text)
    const test = headings.indexOf('Test a sign-in')
    expect(headings[test + 1]).toBe('Enable it')
    expect(test).toBeGreaterThan(Math.max(headings.indexOf('In the portal'), headings.indexOf('Connect it')))
  },
)

describe('renderGuide', () => {
  it('renders headings, lists, tables, code and links to other guides', () => {
    const markdown = [
      '# Okta',
      '#### Deep',
      'Two lines',
      'of **one** paragraph, see [Google](google.md).',
      '1. First `code`',
      '   continued',
      '2. *Second*',
      '',
      '| a | *b* |',
      '|---|---|',
      '| `x` | y |',
      '',
      '- Third',
      '',
      '  ```json',
      '  { "a": 1 }',
      '  ```',
      '',
      '---',
    ].join('\n')
    expect(renderGuide(markdown).split('\n')).toEqual([
      '<h3>Deep</h3>',
      '<p>Two lines',
      'of <strong>one</strong> paragraph, see <a class="admin-link" href="<%= base %>/new/google/guide">Google</a>.</p>',
      '<ol>',
      '<li>First <code>code</code>',
      'continued</li>',
      '<li><em>Second</em></li>',
      '</ol>',
      '<div class="admin-scroll" role="region" aria-label="a, b" tabindex="0">',
      '<table class="admin-table">',
      '<thead><tr><th scope="col">a</th><th scope="col"><em>b</em></th></tr></thead>',
      '<tbody>',
      '<tr><td><code>x</code></td><td>y</td></tr>',
      '</tbody>',
      '</table>',
      '</div>',
      '<ul>',
      '<li><p>Third</p>',
      '<pre class="admin-code"><code>{ &#34;a&#34;: 1 }</code></pre>',
      '</li>',
      '</ul>',
      '',
    ])
  })

  it('shows the URLs of the reader’s portal for those of the example and after their names', () => {
    const own = (name: string) =>
      `<code data-template="<%= guideUrls.${name}.template %>"><%= guideUrls.${name}.value %></code>`
    const markdown =
      'Add the **Redirect URI** of the portal, or `https://portal.example.com/logout/okta/backchannel`. Not `https://portal.example.com/other`.'
    expect(renderGuide(markdown)).toBe(
      `<p>Add the <strong>Redirect URI</strong> of the portal ${own('redirectUri')}, or ${own('backChannelLogoutUri')}. Not <code>https://portal.example.com/other</code>.</p>\n`,
    )
  })

  it.each([
    '<script>alert(1)</script>',
    'text <img src=x onerror=alert(1)> text',
    '<div onclick="alert(1)">\n\n*text*\n\n</div>',
    '<!-- comment --> text',
    '<pre><script>alert(1)</script></pre>',
    '![image](https://example.com/x.png)',
    '[label](javascript:alert(1))',
    '[label](http://example.com)',
    '[label](//example.com)',
    '[label](../security.md)',
    '[label](#heading)',
    '[label](https://example.com/"onclick="alert(1))',
    '[label](https://example.com "title")',
    '[label](https://example.com/<%=process.exit()%>)',
    '<javascript:alert(1)>',
    '<%= process.exit() %>',
    'text `<%- include("x") %>` text',
    '```\n<%= process.exit() %>\n```',
    '## <%= process.exit() %>',
    '| <b>" onclick="x | <%= x %> |\n|---|---|\n| <b>x</b> | <%- x %> |',
  ])('turns %j into text or into allowed markup', (markdown) => {
    const guide = renderGuide(markdown)
    expect(guide.trim()).not.toBe('')
    expect(forbiddenMarkup(guide)).toEqual([])
    // The only EJS tag is the start of a link to another guide.
    expect(guide).not.toMatch(/<%|%>/)
  })
})
