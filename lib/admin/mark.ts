import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'

/** What stands in front of a provider's name, as on the login page. */
export interface Mark {
  /** file in `views/assets`; left out: the monogram */
  logo: string | undefined
  monogram: string
  /** of twelve */
  hue: number
}

export function markOf(provider: Provider): Mark {
  const logo = presetOf(provider.preset)?.logo
  return {
    logo: logo && `logos/${logo}.svg`,
    monogram: monogramOf(provider.displayName),
    hue: hueOf(provider),
  }
}
