import type { DayCount } from '../events/event-counts.ts'
import { phrase } from '../shared/phrase.ts'
import type { Locale } from '../web/locale.ts'
import { day } from './format.ts'

const slot = 4
const barWidth = 3
const height = 32

/** Bars of 30 days as SVG paths, and the same in words for people who do not see them. */
export interface Chart {
  width: number
  height: number
  signIns: string
  failures: string
  /** the highest day */
  most: number
  total: { signIns: number; failures: number }
  days: readonly DayCount[]
  words: (reader: Pick<Locale, 'lang' | 'say'>) => string
}

/** @param days at least one, oldest first */
export function chartOf(days: readonly DayCount[]): Chart {
  const most = Math.max(...days.map(({ signIns, failures }) => signIns + failures))
  const total = { signIns: sum(days, 'signIns'), failures: sum(days, 'failures') }
  const bars = days.map(({ signIns, failures }, at) => {
    const failed = heightOf(failures, most)
    const passed = Math.min(heightOf(signIns, most), height - failed)
    const x = at * slot
    return { signIns: bar(x, height - passed, passed), failures: bar(x, height - passed - failed, failed) }
  })
  return {
    width: days.length * slot - (slot - barWidth),
    height,
    signIns: bars.map((each) => each.signIns).join(''),
    failures: bars.map((each) => each.failures).join(''),
    most,
    total,
    days,
    words: (reader) => describe(days, total, reader),
  }
}

function sum(days: readonly DayCount[], name: 'signIns' | 'failures'): number {
  return days.reduce((total, each) => total + each[name], 0)
}

/** A single event is visible, too. */
function heightOf(number: number, most: number): number {
  return number === 0 ? 0 : Math.max(2, Math.round((number / most) * height))
}

function bar(x: number, y: number, size: number): string {
  return size === 0 ? '' : `M${x} ${y}h${barWidth}v${size}h-${barWidth}z`
}

function describe(
  days: readonly DayCount[],
  total: Chart['total'],
  { lang, say }: Pick<Locale, 'lang' | 'say'>,
): string {
  const signIns = phrase('{{count}} sign-ins', { count: total.signIns })
  const failures = phrase('{{count}} failures', { count: total.failures })
  const highest = days.reduce((one, other) => (other.signIns > one.signIns ? other : one))
  if (highest.signIns === 0) return say('Last 30 days: {{signIns}}, {{failures}}', { signIns, failures })
  const most = { most: highest.signIns, day: day({ lang }, highest.day) }
  return say('Last 30 days: {{signIns}}, {{failures}}. Most sign-ins: {{most}} on {{day}}', {
    signIns,
    failures,
    ...most,
  })
}
