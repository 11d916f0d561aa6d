import { type Command, Option } from 'commander'
import { eventKinds } from '../admin/event-filter.ts'
import { csvLine, eventCells, eventColumns } from '../admin/events-routes.ts'
import { type EventFilter, maxExportedEvents, type StoredEvent } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { type CommonFlags, parseDate, subcommand } from './command.ts'
import { withSsoContext } from './environment.ts'
import { printJson, printTable } from './output.ts'

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

export function addEvents(program: Command): void {
  subcommand(
    program,
    'events',
    'list events, newest first: sign-ins, refusals and changes',
    'events --reference 7KQ2M4XW',
    'events --kind sign-in-failed --from 2027-01-01 --csv > failed.csv',
  )
    .addOption(
      new Option('--kind <kind>', 'only events of this kind').choices(eventKinds.map(({ value }) => value)),
    )
    .option('--provider <slug>', 'only events of this provider')
    .option('--from <date>', 'only events from this date on, such as 2027-01-31')
    .option('--to <date>', 'only events before this date')
    .option('--user <id>', 'only events of this user')
    .option('--reference <reference>', 'the reference on the error page')
    .option(
      '--limit <number>',
      `maximum number of events; default: ${defaultLimit}, with --json and --csv ${maxExportedEvents}`,
    )
    .option('--csv', 'comma-separated, for spreadsheets (RFC 4180)')
    .action((flags: EventFlags) =>
      withSsoContext(async ({ sso }) => {
        if (flags.csv && flags.json) throw new ConfigurationError('give --csv or --json, not both')
        await printEvents(
          sso.history.pages(readFilter(flags), { portal: flags.portal, maxEvents: readLimit(flags) }),
          flags,
        )
      }),
    )
}

function readFilter(flags: EventFlags): EventFilter {
  return {
    kind: flags.kind,
    provider: flags.provider,
    userId: flags.user,
    reference: flags.reference,
    from: flags.from && parseDate(flags.from, '--from').toISOString(),
    to: flags.to && parseDate(flags.to, '--to').toISOString(),
  }
}

function readLimit({ limit, csv, json }: EventFlags): number {
  if (limit === undefined) return csv || json ? maxExportedEvents : defaultLimit
  const number = Number(limit)
  if (Number.isInteger(number) && number > 0 && number <= maxExportedEvents) return number
  throw new ConfigurationError(`--limit: enter a number from 1 to ${maxExportedEvents}`)
}

async function printEvents(pages: AsyncGenerator<StoredEvent[]>, { csv, json }: EventFlags): Promise<void> {
  if (csv) {
    process.stdout.write(csvLine(eventColumns))
    for await (const events of pages)
      process.stdout.write(events.map((event) => csvLine(eventCells(event))).join(''))
    return
  }
  const all: StoredEvent[] = []
  for await (const events of pages) all.push(...events)
  if (json) return printJson(all)
  if (all.length === 0) return console.log('No matching events.')
  printTable(
    ['AT', 'KIND', 'PROVIDER', 'USER', 'ACTOR', 'REFERENCE', 'DETAIL'],
    all.map(({ at, kind, provider, actor, userId, reference, detail }) => [
      at,
      kind,
      provider ?? '',
      userId ?? '',
      actor ?? '',
      reference ?? '',
      JSON.stringify(detail),
    ]),
  )
}
