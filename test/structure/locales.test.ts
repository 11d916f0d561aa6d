import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { problemStatus } from '../../lib/shared/errors.ts'

// Each failure lists the names of the texts, so that it says what is left to translate.

const root = path.resolve(import.meta.dirname, '../..')
const folder = path.join(root, 'views/locales')
const languages = fs
  .readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => path.basename(file, '.json'))

type Texts = { [name: string]: string | Texts }

function flatten(texts: Texts, prefix = ''): [name: string, text: string][] {
  return Object.entries(texts).flatMap(([name, text]) =>
    typeof text === 'string'
      ? [[prefix + name, text] as [string, string]]
      : flatten(text, `${prefix}${name}.`),
  )
}

const read = (language: string) =>
  new Map(flatten(JSON.parse(fs.readFileSync(path.join(folder, `${language}.json`), 'utf8')) as Texts))

const pluralForm = /_(zero|one|two|few|many|other)$/
const baseOf = (name: string) => name.replace(pluralForm, '')
const placeholdersIn = (text: string) =>
  [...text.matchAll(/{{\s*([^}]*?)\s*}}/g)].map(([, name = '']) => name)
const english = read('en')
const names = new Set([...english.keys()].map(baseOf))
const plurals = [...names].filter((name) => english.has(`${name}_other`))

/** The placeholders that a text may have, in all of its plural forms. */
function allowedIn(name: string): Set<string> {
  const forms = [...english].filter(([form]) => baseOf(form) === name)
  return new Set(forms.flatMap(([, text]) => placeholdersIn(text)))
}

/** Texts that are rightly the same as in English. */
const sameAsEnglish: Record<string, string[]> = {
  de: ['registration.optional', 'proof.code', 'account.sessions.title'],
  es: ['registration.errorTitle'],
  fr: ['proof.code'],
  nl: ['proof.code'],
}

const files = ['lib', 'views'].flatMap((part) =>
  fs
    .readdirSync(path.join(root, part), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(ts|ejs)$/.test(file))
    .map((file) => fs.readFileSync(path.join(root, part, file), 'utf8')),
)
const code = files.join('\n')
/** every dotted name and every word in quotes */
const literals = new Set([...code.matchAll(/'([\w.]+)'/g)].map(([, literal = '']) => literal))
/** such as `problems.${code}.title` */
const templates = [...code.matchAll(/`(\w+\.[\w.]*\$\{[^}]+\}[\w.]*)`/g)].map(([, template = '']) => {
  const [before = '', after = ''] = template.split(/\$\{[^}]+\}/)
  return new RegExp(`^${before.replaceAll('.', '\\.')}(\\w+)${after.replaceAll('.', '\\.')}$`)
})
const codes = Object.keys(problemStatus)

function isUsed(name: string): boolean {
  if (literals.has(name)) return true
  const parts = templates.flatMap((template) => template.exec(name)?.[1] ?? [])
  // The part that the code inserts is a word somewhere else.
  return parts.some((part) => literals.has(part) || codes.includes(part))
}

describe('the names of texts', () => {
  it('are all used', () => {
    expect([...names].filter((name) => !isUsed(name))).toEqual([])
  })

  it('are all known where a page or a mail uses them', () => {
    const used = [...code.matchAll(/\bt\((?:[^()'`]+\? )?'([\w.]+)'/g)].map(([, name = '']) => name)
    expect(used.length).toBeGreaterThan(100)
    expect(used.filter((name) => name !== 'layout.direction' && !names.has(name))).toEqual([])
  })

  it('of problems are the error codes', () => {
    const problems = [...names].flatMap((name) => /^problems\.(.+)$/.exec(name)?.[1] ?? [])
    const expected = codes.flatMap((code) => [`${code}.title`, `${code}.sentence`])
    expect(problems.sort()).toEqual(expected.sort())
  })
})

it('the languages are those that the menu can name', () => {
  expect(languages.sort()).toEqual(['ar', 'de', 'en', 'es', 'fr', 'it', 'nl', 'pl', 'pt'])
})

describe.each(languages)('%s', (language) => {
  const texts = read(language)
  const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions()

  it('has every text, with every plural form of the language, and no other', () => {
    const expected = [...names].flatMap((name) =>
      plurals.includes(name) ? pluralCategories.map((category) => `${name}_${category}`) : [name],
    )
    expect({
      missing: expected.filter((name) => !texts.get(name)?.trim()),
      unknown: [...texts.keys()].filter((name) => !expected.includes(name)),
    }).toEqual({ missing: [], unknown: [] })
  })

  it('has the placeholders of English', () => {
    const broken = [...texts].filter(([name, text]) => {
      const allowed = allowedIn(baseOf(name))
      const found = new Set(placeholdersIn(text))
      // "One more try" needs no number.
      const isExact = /_(zero|one|two)$/.test(name)
      const missing = isExact ? [] : [...allowed].filter((each) => !found.has(each))
      return (
        missing.length > 0 ||
        [...found].some((each) => !allowed.has(each)) ||
        /[{}]/.test(withoutPlaceholders(text))
      )
    })
    expect(broken).toEqual([])
  })

  it('is translated', () => {
    const untranslated = [...texts].filter(
      ([name, text]) =>
        text === english.get(name) &&
        /\p{L}/u.test(withoutPlaceholders(text)) &&
        !sameAsEnglish[language]?.includes(name),
    )
    expect(language === 'en' ? [] : untranslated).toEqual([])
  })

  it('has typographic quotes and apostrophes', () => {
    expect([...texts].filter(([, text]) => /["']|\.\.\./.test(text))).toEqual([])
  })
})

describe('fr', () => {
  it('has a no-break space before double punctuation and inside guillemets', () => {
    const wrong = /[^\u00a0\u202f][:;!?»](?!\w|\/)|«[^\u00a0\u202f]/
    expect(languages.includes('fr') ? [...read('fr')].filter(([, text]) => wrong.test(text)) : []).toEqual([])
  })
})

function withoutPlaceholders(text: string): string {
  return text.replace(/{{.*?}}/g, '')
}
