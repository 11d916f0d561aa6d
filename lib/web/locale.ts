import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Request } from 'express'
import i18next, { type i18n } from 'i18next'
import { LRUCache } from 'lru-cache'

export interface Locale {
  lang: string
  t: (key: string, parameters?: Record<string, string | number>) => string
}

/** The languages in `views/locales`. */
export class Locales {
  readonly #languages: string[]
  readonly #i18n: i18n
  readonly #byLanguage = new LRUCache<string, Locale>({ max: 100, memoMethod: (lang) => this.#create(lang) })

  constructor(viewsDirectory: string) {
    const directory = path.join(viewsDirectory, 'locales')
    this.#languages = readdirSync(directory)
      .filter((file) => file.endsWith('.json'))
      .map((file) => path.basename(file, '.json'))
      .sort((a, b) => Number(b === 'en') - Number(a === 'en'))
    this.#i18n = i18next.createInstance()
    void this.#i18n.init({
      initAsync: false,
      supportedLngs: this.#languages,
      fallbackLng: 'en',
      // EJS escapes its output: escaping here as well would show entities.
      interpolation: { escapeValue: false },
      resources: Object.fromEntries(
        this.#languages.map((lang) => [
          lang,
          { translation: JSON.parse(readFileSync(path.join(directory, `${lang}.json`), 'utf8')) as object },
        ]),
      ),
    })
  }

  /** @returns the reader's preferred language that we have; English without a match or a request */
  resolve(req?: Request): Locale {
    const lang = req?.acceptsLanguages(this.#languages) || 'en'
    return this.#byLanguage.memo(lang)
  }

  #create(lang: string): Locale {
    const translate = this.#i18n.getFixedT(lang)
    // Bounded, because a part of a key can come from a provider.
    const texts = new LRUCache<string, string>({ max: 2000, memoMethod: (key) => translate(key) })
    return { lang, t: (key, parameters) => (parameters ? translate(key, parameters) : texts.memo(key)) }
  }
}
