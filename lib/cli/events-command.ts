import { Option } from 'commander'
import { eventKinds } from '../admin/event-filter.ts'
import { csvLine, eventCells, eventColumns } from '../admin/events-routes.ts'
import { type EventFilter, maxExportedEvents, type StoredEvent } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { type CommandContext, type CommonFlags, type PortalCommand, parseDate } from './command.ts'
import { type Result, table } from './output.ts'

interface EventFlags extends CommonFlags {
  kind?: EventKind
  provider?: string
  from?: string
  to?: string
  user?: string
  reference?: string
  limit?: string
  csv?: boolean
}

const defaultLimit = 50

export const eventsCommand: PortalCommand = {
  usage: 'events',
  description: 'list events, newest first: sign-ins, refusals and changes',
  examples: [
    'events --reference 7KQ2M4XW',
    'events --kind sign-in-failed --from 2027-01-01 --csv > failed.csv',
  ],
  options: [
    new Option('--kind <kind>', 'only events of this kind').choices(eventKinds.map(({ value }) => value)),
    new Option('--provider <slug>', 'only events of this provider'),
    new Option('--from <date>', 'only events from this date on, such as 2027-01-31'),
    new Option('--to <date>', 'only events before this date'),
    new Option('--user <id>', 'only events of this user'),
    new Option('--reference <reference>', 'the reference on the error page'),
    new Option(
      '--limit <number>',
      `maximum number of events; default: ${defaultLimit}, with --json and --csv ${maxExportedEvents}`,
    ),
    new Option('--csv', 'comma-separated, for spreadsheets (RFC 4180)'),
  ],
  run: listEvents,
}

async function listEvents({ history, flags }: CommandContext<EventFlags>): Promise<Result | undefined> {
  if (flags.csv && flags.json) throw new ConfigurationError('give --csv or --json, not both')
  const pages = history.pages(readFilter(flags), { maxEvents: readLimit(flags) })
  if (flags.csv) return await printCsv(pages)
  const all: StoredEvent[] = []
  for await (const events of pages) all.push(...events)
  if (all.length === 0) return { json: all, text: 'No matching events.' }
  const headings = ['AT', 'KIND', 'PROVIDER', 'USER', 'ACTOR', 'REFERENCE', 'DETAIL']
  const cells = all.map(({ at, kind, provider, actor, userId, reference, detail }) => [
    at,
    kind,
    provider,
    userId,
    actor,
    reference,
    JSON.stringify(detail),
  ])
  return { json: all, text: table(headings, cells) }
}

async function printCsv(pages: AsyncGenerator<StoredEvent[]>): Promise<undefined> {
  process.stdout.write(csvLine(eventColumns))
  for await (const events of pages)
    process.stdout.write(events.map((event) => csvLine(eventCells(event))).join(''))
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
