import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { adminTexts, sourceFiles } from '../support/admin-texts.ts'

// Administrators' texts are named by their English. Each failure lists what is left to translate.

const folder = path.resolve(import.meta.dirname, '../../views/locales/admin')
const languages = fs.readdirSync(folder).map((file) => path.basename(file, '.json'))
const english = [...adminTexts()]

const read = (language: string): Record<string, string> =>
  JSON.parse(fs.readFileSync(path.join(folder, `${language}.json`), 'utf8'))

const isCounted = (text: string) => text.includes('{{count}}')
const placeholdersIn = (text: string) => [...text.matchAll(/{{\w+}}/g)].map(String).sort()
const withoutForm = (name: string) => name.replace(/_(zero|one|two|few|many|other)$/, '')

/** The names that a file has: of English only those that differ from their own text. */
function namesFor(language: string): string[] {
  const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions()
  if (language === 'en') return english.filter(isCounted).map((text) => `${text}_one`)
  return english.flatMap((text) =>
    isCounted(text) ? pluralCategories.map((category) => `${text}_${category}`) : [text],
  )
}

it('each language of the people’s pages has the texts for administrators', () => {
  const people = fs.readdirSync(path.dirname(folder)).filter((file) => file.endsWith('.json'))
  expect(languages.map((language) => `${language}.json`).sort()).toEqual(people.sort())
})

describe.each(languages)('%s', (language) => {
  const texts = read(language)

  it('has every text, with every plural form of the language, and no other', () => {
    const expected = new Set(namesFor(language))
    expect({
      missing: [...expected].filter((name) => !texts[name]?.trim()),
      unknown: Object.keys(texts).filter((name) => !expected.has(name)),
    }).toEqual({ missing: [], unknown: [] })
  })

  it('has the placeholders of English', () => {
    const broken = Object.entries(texts).filter(([name, text]) => {
      const [expected, found] = [placeholdersIn(withoutForm(name)), placeholdersIn(text)]
      // "One session has ended" needs no number.
      const isExact = /_(zero|one|two)$/.test(name)
      const wanted = isExact ? expected.filter((each) => each !== '{{count}}') : expected
      return !wanted.every((each) => found.includes(each)) || !found.every((each) => expected.includes(each))
    })
    expect(broken).toEqual([])
  })
})

describe('the templates of administrators', () => {
  const templates = [
    // The guides are rendered from English documentation, and marked as English.
    ...sourceFiles('views/admin', '.ejs').filter(([file]) => !file.startsWith('views/admin/guides/')),
    ...sourceFiles('views', '.ejs').filter(([file]) => /^views\/test-sign-in/.test(file)),
  ]

  it.each(templates)('%s has no text of its own', (_file, template) => {
    const html = template.replace(/<%[\s\S]*?%>/g, '').replace(/<svg[\s\S]*?<\/svg>/g, '')
    const spoken = [...html.matchAll(/\b(?:aria-label|alt|placeholder|title)="([^"]*)"/g)].map(
      ([, text = '']) => text,
    )
    const visible = html.replace(/<!doctype html>/, '').split(/<[^>]*>/)
    expect(
      [...spoken, ...visible].map((text) => text.trim()).filter((text) => /\p{L}{2}/u.test(text)),
    ).toEqual([])
  })
})
