import { readChoice } from './answers.ts'
import type { Preset } from './preset.ts'

export const jumpcloud: Preset = {
  name: 'jumpcloud',
  displayName: 'JumpCloud',
  asks: [
    {
      name: 'region',
      label: 'Region',
      hint: 'eu or in where your console is console.eu.jumpcloud.com or console.in.jumpcloud.com; left out: us',
      example: 'eu',
      required: false,
      read: readChoice(['us', 'eu', 'in']),
    },
  ],
  settings: ({ region = 'us' }) => ({
    issuer: region === 'us' ? 'https://oauth.id.jumpcloud.com/' : `https://oauth.id.${region}.jumpcloud.com/`,
  }),
  defaults: {},
  hints: ['All organisations share one issuer: only people whom you gave the application get in.'],
  guide: 'jumpcloud.md',
}
