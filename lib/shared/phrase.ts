/** Values of the placeholders of a phrase, by name. */
export type PhraseValues = Readonly<Record<string, string | number | Phrase>>

/**
 * A text for administrators with values in it, in English: `{{issuer}}` stands for the value `issuer`. Pages translate it; logs and the
 * command line print it as it is. JSON keeps both parts.
 */
export class Phrase {
  readonly text: string
  readonly values: PhraseValues

  constructor(text: string, values: PhraseValues) {
    this.text = text
    this.values = values
  }

  toString(): string {
    return this.text.replace(/{{(\w+)}}/g, (_, name: string) => {
      const value = this.values[name]
      return typeof value === 'number' ? value.toLocaleString('en-GB') : String(value)
    })
  }
}

/** A text for administrators. A text without values is a plain English string. */
export type AdminText = string | Phrase

/** Writes a text in the reader's language; without translations, `String`. */
export type Translate = (text: AdminText) => string

/** Marks a text for administrators, which must then be in each file of `views/locales/admin` (tested). */
export function phrase(text: string): string
export function phrase(text: string, values: PhraseValues): Phrase
export function phrase(text: string, values?: PhraseValues): AdminText {
  return values ? new Phrase(text, values) : text
}

/** A text as a value of another phrase, which is then translated, too. */
export function asPhrase(text: AdminText): Phrase {
  return typeof text === 'string' ? new Phrase(text, {}) : text
}

/** A list within a sentence. */
export function listed(texts: readonly AdminText[]): Phrase {
  return texts.map(asPhrase).reduce((first, next) => phrase('{{first}}, {{next}}', { first, next }))
}

/** Alternatives within a sentence. */
export function either(texts: readonly AdminText[]): Phrase {
  return texts.map(asPhrase).reduce((first, next) => phrase('{{first}} or {{next}}', { first, next }))
}
