import type { CookieOptions, Request, Response } from 'express'
import i18next, { type i18n } from 'i18next'
import { LRUCache } from 'lru-cache'
import type { AdminText, PhraseValues } from '../shared/phrase.ts'
import { DAY } from '../shared/time.ts'
import type { Core } from './core.ts'
import {
  bundledLanguages,
  type LocaleOptions,
  type LocalizedText,
  offeredLanguages,
  readAdminTexts,
  readTexts,
} from './locale-texts.ts'
import { cookiesOf } from './sealed-cookie.ts'

export interface Locale {
  lang: string
  t: (key: string, parameters?: Record<string, string | number>) => string
  /** @returns the host's text in this language, else in the default language */
  localize: (text: LocalizedText) => string
  say: Say
}

/** Translates a text for administrators. Its English is its name; without a translation it stays English. */
export type Say = (text: AdminText | StoredPhrase, values?: PhraseValues) => string

/** A phrase that was read from JSON. */
export interface StoredPhrase {
  text: string
  values: Readonly<Record<string, string | number | StoredPhrase>>
}

const cookieTtlMs = 365 * DAY
const maxTagLength = 35
const maxHeaderLength = 100

/** Scripts that are written from right to left. */
const rightToLeft = new Set(['Arab', 'Hebr', 'Nkoo', 'Syrc', 'Thaa'])

/**
 * The languages that the portal offers. A language from a request becomes one of their names before anything uses it: `Intl` throws
 * for a malformed one, and pages are cached by language.
 */
export class Locales {
  /** the default language first */
  readonly languages: readonly string[]
  /** The languages of administrators' pages: those of the host have no texts for them. */
  readonly forAdmin: readonly string[]
  readonly #bundled = bundledLanguages()
  readonly #options: LocaleOptions
  readonly #i18n: i18n
  #adminTexts: i18n | undefined
  /** language in lower case → its name */
  readonly #names: ReadonlyMap<string, string>
  readonly #locales = new Map<string, Locale>()
  readonly #byHeader = new LRUCache<string, string>({ max: 200 })
  readonly #cookie: string
  readonly #attributes: CookieOptions

  constructor({ cookieName, secure }: Pick<Core, 'cookieName' | 'secure'>, options: LocaleOptions) {
    this.languages = offeredLanguages(options)
    this.forAdmin = this.languages.filter((lang) => this.#bundled.includes(lang))
    this.#options = options
    this.#names = new Map(this.languages.map((lang) => [lang.toLowerCase(), lang]))
    this.#cookie = cookieName('language')
    this.#attributes = { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: cookieTtlMs }
    this.#i18n = i18next.createInstance()
    void this.#i18n.init({
      initAsync: false,
      fallbackLng: 'en',
      // EJS escapes its output: escaping here as well would show entities.
      interpolation: { escapeValue: false },
      resources: {},
    })
  }

  /** @returns the user's language; English without a request */
  resolve(req?: Request): Locale {
    return this.#locale(req ? (this.#chosen(req) ?? this.#accepted(req)) : 'en')
  }

  #locale(lang: string): Locale {
    let locale = this.#locales.get(lang)
    if (!locale) {
      locale = this.#create(lang)
      this.#locales.set(lang, locale)
    }
    return locale
  }

  /**
   * Keeps the language of `?lang=` in a cookie. With a link, another site can do so too: it changes the language of our pages
   * and nothing else, and the user can change it back.
   *
   * @returns the user's own choice, else the first language of the browser, for a provider; none if we lack that, because the
   * provider may have it
   */
  remember(req: Request, res: Response): string | undefined {
    const kept = cookiesOf(req)[this.#cookie]
    // With Express 5, `req.query` parses the query each time.
    const asked = req.url.includes('lang=') ? this.#match(req.query.lang) : undefined
    if (asked !== undefined && asked !== kept) res.cookie(this.#cookie, asked, this.#attributes)
    return asked ?? this.#match(kept) ?? this.#match(req.acceptsLanguages()[0])
  }

  #chosen(req: Request): string | undefined {
    const asked = req.url.includes('lang=') ? this.#match(req.query.lang) : undefined
    return asked ?? this.#match(cookiesOf(req)[this.#cookie])
  }

  #accepted(req: Request): string {
    const { 'accept-language': header = '' } = req.headers
    const cached = this.#byHeader.get(header)
    if (cached !== undefined) return cached
    const lang = req.acceptsLanguages([...this.languages]) || this.#options.defaultLocale
    // Visitors choose the header, so a long one is not kept.
    if (header.length <= maxHeaderLength) this.#byHeader.set(header, lang)
    return lang
  }

  /** @returns our language for a tag from a request, also for a more specific one such as `de-AT` */
  #match(tag: unknown): string | undefined {
    if (typeof tag !== 'string' || tag.length > maxTagLength) return undefined
    const wanted = tag.toLowerCase()
    for (let end = wanted.length; end > 0; end = wanted.lastIndexOf('-', end - 1)) {
      const lang = this.#names.get(wanted.slice(0, end))
      if (lang !== undefined) return lang
    }
    return undefined
  }

  #create(lang: string): Locale {
    this.#load(lang)
    const translate = this.#i18n.getFixedT(lang)
    const isRightToLeft = translate('layout.direction') === 'rtl'
    // Bounded, because a part of a key can come from a provider.
    const texts = new LRUCache<string, string>({ max: 2000, memoMethod: (key) => translate(key) })
    return {
      lang,
      t: (key, parameters) =>
        parameters ? translate(key, isolate(parameters, isRightToLeft)) : texts.memo(key),
      localize: (text) => this.#localize(text, lang),
      say: (text, values) => this.#say(lang, text, values),
    }
  }

  /** @returns the administrator's language, without a request the default one; German for `de-AT`, and English where there are no texts */
  resolveForAdmin(req?: Request): Locale {
    const { lang } = req ? this.resolve(req) : this.#locale(this.#options.defaultLocale)
    const [found = 'en'] = [lang, lang.replace(/-.*/, '')].filter((each) => this.#bundled.includes(each))
    return this.#locale(found)
  }

  #say(lang: string, said: AdminText | StoredPhrase, given: PhraseValues = {}): string {
    this.#adminTexts ??= adminTexts()
    if (!this.#adminTexts.hasResourceBundle(lang, 'translation'))
      this.#adminTexts.addResourceBundle(lang, 'translation', readAdminTexts(lang))
    const { text, values } = typeof said === 'string' ? { text: said, values: given } : said
    const written = Object.entries(values).map(([name, value]) => {
      if (typeof value === 'number') return [name, numberFormat(lang).format(value)]
      return [name, typeof value === 'string' ? value : this.#say(lang, value)]
    })
    const isRightToLeft = this.#i18n.t('layout.direction', { lng: lang }) === 'rtl'
    // `count` selects the plural form.
    const options = { lng: lang, ...(typeof values.count === 'number' && { count: values.count }) }
    return this.#adminTexts.t(text, {
      ...options,
      // A text of ours never contains another one.
      nest: false,
      replace: isolate(Object.fromEntries(written) as Record<string, string>, isRightToLeft),
    })
  }

  /** Reads a language with its first use, and those in which i18next looks for a text that it lacks. */
  #load(lang: string): void {
    if (this.#i18n.hasResourceBundle(lang, 'translation')) return
    const parent = lang.replace(/-[^-]+$/, '')
    if (parent !== lang) this.#load(parent)
    else if (!this.#bundled.includes(lang)) this.#load('en')
    const { script = '' } = new Intl.Locale(lang).maximize()
    const direction = rightToLeft.has(script) ? 'rtl' : 'ltr'
    for (const texts of [{ layout: { direction } }, readTexts(lang), this.#options.locales[lang] || {}])
      this.#i18n.addResourceBundle(lang, 'translation', texts, true, true)
  }

  #localize(text: LocalizedText, lang: string): string {
    if (typeof text === 'string') return text
    const found = [lang, lang.replace(/-.*/, '')].find((each) => Object.hasOwn(text, each))
    return text[found ?? this.#options.defaultLocale] as string
  }
}

/** Created with the first text for administrators, whose names are sentences. */
function adminTexts(): i18n {
  const texts = i18next.createInstance()
  void texts.init({
    initAsync: false,
    fallbackLng: 'en',
    keySeparator: false,
    nsSeparator: false,
    interpolation: { escapeValue: false },
    resources: { en: { translation: readAdminTexts('en') } },
  })
  return texts
}

const numberFormats = new Map<string, Intl.NumberFormat>()

export function numberFormat(lang: string): Intl.NumberFormat {
  const known = numberFormats.get(lang)
  if (known) return known
  const format = new Intl.NumberFormat(lang === 'en' ? 'en-GB' : lang, { numberingSystem: 'latn' })
  numberFormats.set(lang, format)
  return format
}

/** URLs and identifiers, which users copy. */
const copied = /^(?:https?:\S+|[\w-]{20,})$/
const rightToLeftText = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/

/** Names whose direction can differ from that of the sentence are isolated, or they would reorder the words around them. */
function isolate(
  parameters: Record<string, string | number>,
  isRightToLeft: boolean,
): Record<string, string | number> {
  const entries = Object.entries(parameters)
  if (!isRightToLeft && !entries.some(([, value]) => rightToLeftText.test(String(value)))) return parameters
  const isName = (value: string | number) => typeof value === 'string' && !copied.test(value)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, isName(value) ? `\u2068${value}\u2069` : value]),
  )
}

/** Dates in the user's language. In the digits of our other numbers, which are not those of every reader of Arabic. */
export function dateFormat(lang: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(lang, { numberingSystem: 'latn', ...options })
}
