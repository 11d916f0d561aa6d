import { adfs } from './adfs.ts'
import { auth0 } from './auth0.ts'
import { authentik } from './authentik.ts'
import { cognito } from './cognito.ts'
import { entra } from './entra.ts'
import { generic } from './generic.ts'
import { gitlab } from './gitlab.ts'
import { google } from './google.ts'
import { jumpcloud } from './jumpcloud.ts'
import { keycloak } from './keycloak.ts'
import { okta } from './okta.ts'
import { onelogin } from './onelogin.ts'
import { ory } from './ory.ts'
import { ping } from './ping.ts'
import type { Preset } from './preset.ts'
import { salesforce } from './salesforce.ts'
import { zitadel } from './zitadel.ts'

export const presets: readonly Preset[] = [
  entra,
  google,
  okta,
  auth0,
  keycloak,
  gitlab,
  ping,
  onelogin,
  jumpcloud,
  adfs,
  cognito,
  authentik,
  zitadel,
  ory,
  salesforce,
  generic,
]

/** Core 3.1.2.1: every provider supports `login`, but not every provider lets the user choose an account. */
export function canChooseAccount(
  { preset }: { preset: string },
  metadata: Readonly<Record<string, unknown>>,
): boolean {
  const supported = metadata.prompt_values_supported
  return Array.isArray(supported)
    ? supported.includes('select_account')
    : supported === undefined && presetOf(preset)?.choosesAccount === true
}

export function presetOf(name: string): Preset | undefined {
  return presets.find((preset) => preset.name === name)
}
