import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from '@jest/globals'

const root = path.resolve(import.meta.dirname, '../..')

function textOf(folder: string, extension: RegExp): string {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => extension.test(file))
    .map((file) => readFileSync(path.join(root, folder, file), 'utf8'))
    .join('\n')
}

it.each(['portal-sso.css', 'admin.css'])('every class and custom property of %s is used', (file) => {
  const templates = textOf('views', /\.(?:ejs|js)$/) + textOf('lib', /\.ts$/)
  const css = readFileSync(path.join(root, 'views/assets', file), 'utf8')
  const all = textOf('views/assets', /\.css$/)
  const classes = new Set([...css.matchAll(/\.([a-z][\w-]*-[\w-]+)/g)].map(([, name]) => name!))
  expect(classes.size).toBeGreaterThan(50)
  // A template can build a name: `admin-state-<%= state.tone %>`.
  const built = templates
    .replace(/<%.*?%>|\$\{.*?\}/gs, '*')
    .matchAll(/(?<![\w*-])(?=[\w-]*\*)[\w*-]*-[a-z]*\*?/g)
  const patterns = [...built].map(([name]) => new RegExp(`^${name.replaceAll('*', '[\\w-]+')}$`))
  const unused = [...classes].filter(
    (name) =>
      !new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(templates) &&
      !patterns.some((pattern) => pattern.test(name)),
  )
  expect(unused).toEqual([])
  const properties = new Set([...css.matchAll(/(--[\w-]+):/g)].map(([, name]) => name!))
  expect([...properties].filter((name) => !all.includes(`var(${name})`))).toEqual([])
})
