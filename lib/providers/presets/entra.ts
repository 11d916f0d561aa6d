import { tenant } from '../provider.ts'
import type { Preset } from './preset.ts'

export const entra: Preset = {
  name: 'entra',
  displayName: 'Microsoft Entra ID',
  asks: [
    {
      name: 'tenant',
      label: 'Directory (tenant) ID',
      hint: 'a GUID, from the overview page of the app registration',
      example: '00000000-0000-0000-0000-000000000000',
      read(answer) {
        const { data, error } = tenant.safeParse(answer.trim())
        return data === undefined ? { wrong: error?.issues[0]?.message ?? 'write a GUID' } : { answer: data }
      },
    },
  ],
  settings: (answers) => ({ issuer: `https://login.microsoftonline.com/${answers.tenant}/v2.0` }),
  defaults: { clientAuthentication: 'client_secret_post' },
  hints: [],
  guide: 'entra.md',
}
