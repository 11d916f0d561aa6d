import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { ConfigurationError } from '../shared/errors.ts'
import { sanitizeForTerminal } from './output.ts'

export interface Question {
  question: string
  /** what to give instead where nobody can be asked */
  flag: string
  /** where to find it */
  hint?: string | undefined
  example?: string | undefined
  /** not shown while it is typed; default false */
  hidden?: boolean | undefined
  /** what no answer means; left out: there has to be one */
  otherwise?: string | undefined
  /** the answer in its normal form, or what to write instead: then it is asked again */
  read?(answer: string): Read | Promise<Read>
  /** said when the person leaves by Ctrl-C; default: that nothing is changed */
  stopped?: string | undefined
}

export type Read = { answer: string } | { wrong: string }

/** Whether a person is there to be asked. */
export function atTerminal(): boolean {
  return process.stdin.isTTY === true
}

/** Asks the person at the terminal until the answer will do. @throws ConfigurationError when nobody is there, naming the flag */
export async function ask(asked: Question): Promise<string> {
  const { question, flag, hint, example, otherwise, read = (answer) => ({ answer }) } = asked
  if (!atTerminal()) throw new ConfigurationError(`${question}: give ${flag}`)
  const help = [hint, example && `for example ${example}`].filter(Boolean).join('; ')
  if (help) tell(`  (${help})`)
  for (;;) {
    const answer = (await answerTo(asked)) || otherwise
    if (answer === otherwise && answer !== undefined) return answer
    const outcome = answer === undefined ? { wrong: 'please enter a value' } : await read(answer)
    if ('answer' in outcome) return outcome.answer
    tell(`  ${outcome.wrong}`)
  }
}

/** Asks for a yes. @throws ConfigurationError when nobody is there, naming the flag */
export async function confirm(
  question: string,
  { flag, stopped, otherwise = 'no' }: { flag: string; stopped?: string; otherwise?: 'yes' | 'no' },
): Promise<boolean> {
  const read = (answer: string): Read =>
    /^(y|yes|n|no)$/i.test(answer) ? { answer } : { wrong: 'please enter yes or no' }
  const suggested = `${question} [yes/no, default ${otherwise}]`
  return /^y/i.test(await ask({ question: suggested, flag, otherwise, read, stopped }))
}

async function answerTo({ question, hidden, otherwise, stopped }: Question): Promise<string> {
  const output = hidden ? silence() : process.stderr
  const terminal = createInterface({ input: process.stdin, output, terminal: true })
  // Ctrl-C and Ctrl-D: the question alone would then never be answered, and the command end as if all were well.
  const left = new Promise<never>((_, reject) => {
    const why = `\n${stopped ?? 'stopped; nothing was changed'}`
    terminal.once('close', () => reject(new ConfigurationError(why)))
  })
  const shown = otherwise && !/default/.test(question) ? `${question} [${otherwise}]` : question
  try {
    process.stderr.write(hidden ? `${question} (hidden${otherwise ? ', leave empty to keep it' : ''}): ` : '')
    const asked = terminal.question(hidden ? '' : `${sanitizeForTerminal(shown)}: `)
    const answer = await Promise.race([asked, left])
    if (hidden) process.stderr.write('\n')
    return answer.trim()
  } finally {
    terminal.close()
  }
}

function tell(text: string): void {
  process.stderr.write(`${sanitizeForTerminal(text)}\n`)
}

function silence(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done()
    },
  })
}
