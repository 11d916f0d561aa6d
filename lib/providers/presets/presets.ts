import { entra } from './entra.ts'
import { generic } from './generic.ts'
import type { Preset } from './preset.ts'

/** In the order in which they are offered. */
export const presets: readonly Preset[] = [entra, generic]

export function presetOf(name: string): Preset | undefined {
  return presets.find((preset) => preset.name === name)
}
