import { z } from 'zod'
import type { ProviderSettings } from './provider.ts'

/** A named starting point: what to ask for, how the issuer is made of it, and defaults that the administrator may change. */
export interface Preset {
  displayName?: string
  /** what it takes instead of an issuer */
  asks: z.ZodType<Record<string, string>>
  issuer?: (answers: Record<string, string>) => string
  defaults: Partial<ProviderSettings>
}

export const presets: Readonly<Record<string, Preset>> = {
  generic: { asks: z.strictObject({}), defaults: {} },
  entra: {
    displayName: 'Microsoft Entra ID',
    asks: z.strictObject({
      // A GUID only: the issuer in the tokens is built from it, whatever domain name the tenant goes by.
      tenant: z
        .guid('write the Directory (tenant) ID, a GUID, from the overview page of the app registration')
        .toLowerCase(),
    }),
    issuer: ({ tenant }) => `https://login.microsoftonline.com/${tenant}/v2.0`,
    defaults: { clientAuthentication: 'client_secret_post' },
  },
}
