import type { ProviderSettings } from '../provider.ts'

/** Something that an administrator finds in the provider's console, in place of an issuer. */
export interface Question {
  /** as the CLI's flag (`--tenant`), the form's field and `ProviderInput.answers` name it */
  name: string
  /** as the provider's console calls it */
  label: string
  /** where to find it */
  hint?: string
  example?: string
  /** default true */
  required?: boolean
  /** @returns the answer in its normal form, or what to write instead */
  read(answer: string): { answer: string } | { wrong: string }
}

/** A named starting point: what to ask for, how the issuer is made of it, and defaults that the administrator may change. */
export interface Preset {
  name: string
  displayName: string
  /** none: the issuer itself is asked for */
  asks: readonly Question[]
  /** @param answers of all required questions, read */
  settings?(
    answers: Readonly<Record<string, string>>,
  ): Pick<ProviderSettings, 'issuer'> & Partial<ProviderSettings>
  defaults: Partial<ProviderSettings>
  /** what cannot be in a row of this preset, one sentence each */
  objections?(settings: ProviderSettings): string[]
  /**
   * Where an administrator consents for a whole organisation; left out: the provider has no such page.
   *
   * @param issuer of the row, of which it is made, so that nobody is sent to another site than the row says
   */
  adminConsent?(issuer: string): string
  /** it knows `prompt=select_account`, though its metadata do not say so; default false */
  choosesAccount?: true
  /**
   * It ends sessions here through the browser (Front-Channel Logout 1.0), and says which one by `sid` alone, against the
   * specification, which asks for `iss` too. Default false.
   */
  frontChannelWithoutIssuer?: true
  /** file in `views/assets/logos`, without `.svg`; left out: a monogram */
  logo?: string
  /** what an administrator should know before the form is filled in; one sentence each */
  hints: readonly string[]
  /** of `docs/providers` */
  guide: string
}
