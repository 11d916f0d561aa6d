import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Request } from 'express'
import i18next from 'i18next'

export interface Locale {
  lang: string
  t: (key: string, parameters?: Record<string, string | number>) => string
}

/** @returns chooses the reader's language among the files in `views/locales`, English when there is none of his, or no reader */
export function createLocales(viewsDirectory: string): (req?: Request) => Locale {
  const directory = path.join(viewsDirectory, 'locales')
  const languages = readdirSync(directory)
    .filter((file) => file.endsWith('.json'))
    .map((file) => path.basename(file, '.json'))
    .sort((a, b) => Number(b === 'en') - Number(a === 'en'))
  const i18n = i18next.createInstance()
  void i18n.init({
    initAsync: false,
    supportedLngs: languages,
    fallbackLng: 'en',
    // EJS escapes what it prints: escaping here too would show entities.
    interpolation: { escapeValue: false },
    resources: Object.fromEntries(
      languages.map((lang) => [
        lang,
        { translation: JSON.parse(readFileSync(path.join(directory, `${lang}.json`), 'utf8')) as object },
      ]),
    ),
  })
  return (req) => {
    const lang = req?.acceptsLanguages(languages) || 'en'
    const fixed = i18n.getFixedT(lang)
    return { lang, t: (key, parameters = {}) => fixed(key, parameters) }
  }
}
