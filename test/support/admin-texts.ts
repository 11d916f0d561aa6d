import fs from 'node:fs'
import path from 'node:path'
import { remedies } from '../../lib/admin/remedies.ts'
import { entraErrors } from '../../lib/providers/presets/entra.ts'
import { oktaErrors } from '../../lib/providers/presets/okta.ts'
import { usualTrust } from '../../lib/providers/presets/preset.ts'
import { presets } from '../../lib/providers/presets/presets.ts'
import { settingEntries } from '../../lib/providers/settings.ts'

const root = path.resolve(import.meta.dirname, '../..')

/** Files below a folder of the repository, with their text. */
export function sourceFiles(folder: string, ending: string): [file: string, text: string][] {
  return fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => [`${folder}/${file}`, fs.readFileSync(path.join(root, folder, file), 'utf8')])
}

const marked = /\b(?:say|phrase)\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g

function markedIn(text: string): string[] {
  return [...text.matchAll(marked)].map(([, single, double = '']) =>
    (single ?? double).replace(/\\(.)/g, '$1'),
  )
}

/** Texts of the tables that administrators read: every string under one of these names. */
const shown = new Set(['label', 'hint', 'cause', 'warning', 'emptyChoice', 'effects', 'hints', 'wrong'])

function textsIn(value: unknown, isShown = false): string[] {
  if (typeof value === 'string') return isShown ? [value] : []
  if (Array.isArray(value)) return value.flatMap((each) => textsIn(each, isShown))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, each]) => textsIn(each, isShown || shown.has(name)))
}

/** The English texts for administrators: those that the code marks, and those of the settings and presets. */
export function adminTexts(): Set<string> {
  const files = [...sourceFiles('lib', '.ts'), ...sourceFiles('views', '.ejs')]
  const settings = settingEntries().map(([, { schema, ...setting }]) => setting)
  const tables = [
    textsIn(settings),
    textsIn([presets, usualTrust, entraErrors, oktaErrors]),
    textsIn(remedies, true),
  ]
  return new Set([...files.flatMap(([, text]) => markedIn(text)), ...tables.flat()])
}
