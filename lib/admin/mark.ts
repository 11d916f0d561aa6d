import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'

/** What stands in front of a provider's name, as on the login page. */
export interface Mark {
  /** file in `views/assets`; left out: the monogram */
  logo: string | undefined
  monogram: string
  /** of twelve */
  hue: number
}

export function markOf({
  preset,
  displayName,
  position,
}: Pick<Provider, 'preset' | 'displayName' | 'position'>): Mark {
  const logo = presetOf(preset)?.logo
  const [first] = new Intl.Segmenter().segment(displayName.trim())
  return {
    logo: logo && `logos/${logo}.svg`,
    monogram: (first?.segment ?? '?').toUpperCase(),
    hue: (position * 5) % 12,
  }
}
