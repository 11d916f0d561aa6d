import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { ConfigurationError } from '../shared/errors.ts'

/** Texts of one language by their names in `views/locales/en.json`, as nested objects. */
export interface LocaleTexts {
  /** A text, or a group of texts. */
  [name: string]: string | LocaleTexts
}

/** A text of the host: one for all languages, or one for each, such as `{ en: 'Team', de: 'Abteilung' }`. */
export type LocalizedText = string | Readonly<Record<string, string>>

/** @param example of a record, for the message */
export const localizedText = (text: z.ZodString, example: string) =>
  z.union([text, z.record(z.string(), text)], {
    error: ({ input, errors }) =>
      typeof input === 'string'
        ? errors?.[0]?.[0]?.message
        : `write a text, or one for each language such as \`${example}\``,
  })

export interface LocaleOptions {
  /** language → texts that replace ours, or `false` for a language that the portal does not offer */
  locales: Readonly<Record<string, LocaleTexts | false>>
  defaultLocale: string
}

let foundViews: string | undefined

/** Our templates: at the same path from `lib` and from the built `dist`; a host that bundles us copies them beside its bundle. */
export function viewsDirectory(): string {
  foundViews ??= findViews(['../../views', 'portal-sso-views'])
  return foundViews
}

function findViews(folders: string[]): string {
  const directories = folders.map((folder) => path.resolve(import.meta.dirname, folder))
  // A bundle in `dist/server/` would otherwise take the host's own `views`.
  const found = directories.find((directory) => existsSync(path.join(directory, 'assets/portal-sso.css')))
  if (found !== undefined) return found
  throw new ConfigurationError(
    `the pages are missing: exclude express-portal-sso from your bundle, or copy its folder \`views\` to ${directories.at(-1)}`,
  )
}

const localesDirectory = () => path.join(viewsDirectory(), 'locales')

/** The languages in `views/locales`. */
export function bundledLanguages(): string[] {
  return readdirSync(localesDirectory())
    .filter((file) => file.endsWith('.json'))
    .map((file) => path.basename(file, '.json'))
}

/** @returns our texts; none for a language that only the host has */
export function readTexts(lang: string): LocaleTexts {
  if (!bundledLanguages().includes(lang)) return {}
  return JSON.parse(readFileSync(path.join(localesDirectory(), `${lang}.json`), 'utf8')) as LocaleTexts
}

/** @returns English → translation of the texts for administrators; of English itself only the other plural forms */
export function readAdminTexts(lang: string): Record<string, string> {
  if (!bundledLanguages().includes(lang)) return {}
  return JSON.parse(readFileSync(path.join(localesDirectory(), 'admin', `${lang}.json`), 'utf8'))
}

/** The languages that the portal offers, the default one first. */
export function offeredLanguages({ locales, defaultLocale }: LocaleOptions): string[] {
  const languages = new Set([...bundledLanguages(), ...Object.keys(locales)])
  languages.delete(defaultLocale)
  return [defaultLocale, ...[...languages].filter((lang) => locales[lang] !== false).sort()]
}

const languagePattern = /^[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|\d{3}))?$/
const pluralSuffix = /_(zero|one|two|few|many|other)$/

/** @throws ConfigurationError with a sentence that says what to write */
export function assertLocales({ locales, defaultLocale }: LocaleOptions): void {
  for (const [lang, texts] of Object.entries(locales)) {
    if (!languagePattern.test(lang))
      throw refusal('locales', `write a language such as \`fr\`, \`pt-BR\` or \`zh-Hant\`, not \`${lang}\``)
    if (texts !== false) assertTexts(lang, texts)
  }
  const known = [...bundledLanguages(), ...Object.keys(locales)]
  if (!known.includes(defaultLocale) || locales[defaultLocale] === false)
    throw refusal('defaultLocale', `write a language that the portal offers, such as ${quoted(known)}`)
}

/** @throws ConfigurationError if a text lacks the default language, or has one that the portal does not offer */
export function assertLocalized(
  option: string,
  text: LocalizedText | undefined,
  languages: readonly string[],
) {
  if (text === undefined || typeof text === 'string') return
  const [defaultLocale = ''] = languages
  if (!Object.hasOwn(text, defaultLocale))
    throw refusal(option, `add a text in the default language, \`${defaultLocale}\``)
  const unknown = Object.keys(text).find((lang) => !languages.includes(lang))
  if (unknown !== undefined)
    throw refusal(option, `the portal does not offer \`${unknown}\`: write ${quoted(languages)}`)
}

/** Every text must have a name and placeholders of ours, so that a misspelt one is noticed at start and not by a user. */
function assertTexts(lang: string, texts: LocaleTexts): void {
  const english = new Map<string, Set<string>>()
  for (const [name, text] of flatten(readTexts('en'))) {
    const base = name.replace(pluralSuffix, '_')
    english.set(base, new Set([...(english.get(base) ?? []), ...placeholdersIn(text)]))
  }
  const { pluralCategories } = new Intl.PluralRules(lang).resolvedOptions()
  for (const [name, text] of flatten(texts)) {
    const option = `locales.${lang}.${name}`
    const [, category] = pluralSuffix.exec(name) ?? []
    const isForm = category === undefined || pluralCategories.some((each) => each === category)
    const placeholders = english.get(name.replace(pluralSuffix, '_'))
    if (!placeholders || !isForm)
      throw refusal(option, 'there is no text of this name; see views/locales/en.json')
    if (typeof text !== 'string' || text.trim() === '') throw refusal(option, 'write a text')
    const unknown = placeholdersIn(text).find((each) => !placeholders.has(each))
    if (unknown === undefined) continue
    const allowed = placeholders.size === 0 ? 'without placeholders' : `with ${quoted(placeholders)} only`
    throw refusal(option, `write the text ${allowed}, not \`${unknown}\``)
  }
}

function* flatten(texts: LocaleTexts, prefix = ''): Generator<[name: string, text: string]> {
  for (const [name, text] of Object.entries(texts)) {
    if (typeof text === 'object' && text !== null) yield* flatten(text, `${prefix}${name}.`)
    else yield [prefix + name, text]
  }
}

/** Also `$t(…)`, with which i18next would insert another text. */
function placeholdersIn(text: unknown): string[] {
  return String(text).match(/{{.*?}}|\$t\(.*?\)/g) ?? []
}

function quoted(names: Iterable<string>): string {
  return [...names].map((name) => `\`${name}\``).join(', ')
}

function refusal(option: string, sentence: string): ConfigurationError {
  return new ConfigurationError(`createPortalSso: ${option}: ${sentence}`)
}
