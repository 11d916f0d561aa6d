import { Argument, type Command } from 'commander'
import type { RebindingPlan } from '../../management/rebind-identities.ts'
import { type Common, subcommand } from '../command.ts'
import { type SsoContext, withSsoContext } from '../environment.ts'
import { print, printJson, printResult, printTable } from '../output.ts'
import { confirm } from '../prompt.ts'

const steps = ['plan', 'start', 'stop', 'undo'] as const
type RebindFlags = Common & { yes?: boolean }

export function addRebind(providers: Command): void {
  subcommand(
    providers,
    'rebind',
    'when a provider gives its people new subjects: find them again by tenant and object id',
    'providers rebind acme plan',
    'providers rebind acme start',
  )
    .argument('<slug>')
    .addArgument(
      new Argument(
        '<step>',
        'plan: who would be found, changing nothing; start, stop; undo: take back the links it made',
      ).choices(steps),
    )
    .option('--yes', 'undo without asking')
    .action((slug: string, step: (typeof steps)[number], flags: RebindFlags) =>
      withSsoContext((context) => acts[step](context, slug, flags)),
    )
}

const acts: Record<
  (typeof steps)[number],
  (w: SsoContext, slug: string, flags: RebindFlags) => Promise<void>
> = {
  async plan({ sso }, slug, { portal, json }) {
    const plan = await sso.providers.rebindingPlan(slug, portal)
    if (json) printJson(plan)
    else printPlan(plan)
  },
  async start({ sso, actor }, slug, flags) {
    await sso.providers.startRebinding(slug, { portal: flags.portal, actor })
    printResult(
      flags,
      { slug, rebinding: true },
      `${slug}: from now on people are found again by tenant and object id`,
    )
  },
  async stop({ sso, actor }, slug, flags) {
    await sso.providers.stopRebinding(slug, { portal: flags.portal, actor })
    printResult(
      flags,
      { slug, rebinding: false },
      `${slug}: nobody is found again so any more; who was stays`,
    )
  },
  async undo({ sso, actor }, slug, flags) {
    const question = `Take back every link that the rebinding of ${slug} made?`
    if (!flags.yes && !(await confirm(question, { flag: '--yes' }))) return console.log('They stay.')
    const undone = await sso.providers.undoRebinding(slug, { portal: flags.portal, actor })
    printResult(flags, { slug, undone }, `${slug}: ${undone} link(s) taken back`)
  },
}

function printPlan({ people, findable, orphans, relinked, since }: RebindingPlan): void {
  print(`${people} people are linked, ${findable} of them would be found again, ${orphans.length} would not.`)
  if (since) print(`Rebinding since ${since}: ${relinked} found again so far.`)
  if (orphans.length === 0) return
  printTable(
    ['USER', 'E-MAIL'],
    orphans.map(({ userId, email }) => [userId, email ?? '']),
  )
}
