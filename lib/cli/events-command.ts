import { Option } from 'commander'
import { eventKinds } from '../admin/event-filter.ts'
import { csvLine, eventCells, eventColumns } from '../admin/events-routes.ts'
import { type EventFilter, maxExportedEvents, type StoredEvent } from '../events/event-history.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { type CommandContext, type CommonFlags, type PortalCommands, parseDate } from './command.ts'
import { printPages, write } from './output.ts'

type EventFlags = CommonFlags & EventFilter & { user?: string; limit?: string; csv?: boolean }

const defaultLimit = 50

const columns = {
  AT: 'at',
  KIND: 'kind',
  PROVIDER: 'provider',
  USER: 'userId',
  ACTOR: 'actor',
  REFERENCE: 'reference',
  DETAIL: ({ detail }: StoredEvent) => JSON.stringify(detail),
} as const

export const eventsCommands: PortalCommands = {
  events: {
    description: 'list events, newest first: sign-ins, refusals and changes',
    examples: [
      'events --reference 7KQ2M4XW',
      'events --kind sign-in-failed --from 2027-01-01 --csv > failed.csv',
    ],
    otherOptions: [
      new Option('--kind <kind>', 'only events of this kind').choices(eventKinds.map(({ value }) => value)),
    ],
    options: {
      '--provider <slug>': 'only events of this provider',
      '--from <date>': 'only events from this date on, such as 2027-01-31',
      '--to <date>': 'only events before this date',
      '--user <id>': 'only events of this user',
      '--reference <reference>': 'the reference on the error page',
      '--limit <number>': `maximum number of events; default: ${defaultLimit}, with --json and --csv ${maxExportedEvents}`,
      '--csv': 'comma-separated, for spreadsheets (RFC 4180)',
    },
    async run({ history, flags }: CommandContext<EventFlags>) {
      if (flags.csv && flags.json) throw new ConfigurationError('give --csv or --json, not both')
      const pages = history.pages(readFilter(flags), { maxEvents: readLimit(flags) })
      if (flags.csv) return await printCsv(pages)
      return await printPages(flags, pages, columns, 'No matching events.')
    },
  },
}

async function printCsv(pages: AsyncGenerator<StoredEvent[]>): Promise<undefined> {
  await write(csvLine(eventColumns))
  for await (const events of pages) await write(events.map((event) => csvLine(eventCells(event))).join(''))
}

function readFilter({ kind, provider, user, reference, from, to }: EventFlags): EventFilter {
  return {
    kind,
    provider,
    userId: user,
    reference,
    from: from && parseDate(from, '--from').toISOString(),
    to: to && parseDate(to, '--to').toISOString(),
  }
}

function readLimit({ limit, csv, json }: EventFlags): number {
  if (limit === undefined) return csv || json ? maxExportedEvents : defaultLimit
  const number = Number(limit)
  if (Number.isInteger(number) && number > 0 && number <= maxExportedEvents) return number
  throw new ConfigurationError(`--limit: enter a number from 1 to ${maxExportedEvents}`)
}
