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
  const unused = [...classes].filter((name) => {
    const parts = name.split('-')
    // A template can build a name: `admin-state-<%= state.tone %>`.
    const prefixes = parts.slice(1).map((_, at) => `${parts.slice(0, at + 1).join('-')}-`)
    const isBuilt = prefixes.some(
      (prefix) => templates.includes(`${prefix}<%`) || templates.includes(`${prefix}\${`),
    )
    return !isBuilt && !new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(templates)
  })
  expect(unused).toEqual([])
  const properties = new Set([...css.matchAll(/(--[\w-]+):/g)].map(([, name]) => name!))
  expect([...properties].filter((name) => !all.includes(`var(${name})`))).toEqual([])
})
