import { auth0 } from './auth0.ts'
import { entra } from './entra.ts'
import { generic } from './generic.ts'
import { gitlab } from './gitlab.ts'
import { google } from './google.ts'
import { jumpcloud } from './jumpcloud.ts'
import { keycloak } from './keycloak.ts'
import { okta } from './okta.ts'
import { onelogin } from './onelogin.ts'
import { ping } from './ping.ts'
import type { Preset } from './preset.ts'

/** In the order of the form. */
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
  generic,
]

export function presetOf(name: string): Preset | undefined {
  return presets.find((preset) => preset.name === name)
}
