import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { ConfigurationError } from '../shared/errors.ts'
import type { AdminText } from '../shared/phrase.ts'
import { sanitizeForTerminal } from './output.ts'

interface Prompt {
  question: string
  /** the flag that replaces the question in scripts */
  flag: string
  hint?: string | undefined
  example?: string | undefined
  /** do not echo the input; default false */
  hidden?: boolean | undefined
  /** used for an empty input; default: the input must not be empty */
  defaultAnswer?: string | undefined
  /** Validates the input and returns it in its normal form. */
  read?(input: string): ReadResult | Promise<ReadResult>
  /** printed after Ctrl-C or Ctrl-D; default: nothing was changed */
  stoppedMessage?: string | undefined
}

/** `wrong`: what to enter instead. The question is then repeated. */
export type ReadResult = { answer: string } | { wrong: AdminText }

export function atTerminal(): boolean {
  return process.stdin.isTTY === true
}

/** Asks until the answer is valid. @throws ConfigurationError naming the flag without a terminal, and after Ctrl-C */
export async function ask(prompt: Prompt): Promise<string> {
  const { flag, hint, example, defaultAnswer, read = (answer) => ({ answer }) } = prompt
  if (!atTerminal()) throw new ConfigurationError(`${prompt.question}: give ${flag}`)
  const help = [hint, example && `for example ${example}`].filter(Boolean).join('; ')
  if (help) writeLine(`  (${help})`)
  for (;;) {
    const input = (await readInput(prompt)) || defaultAnswer
    if (input === defaultAnswer && input !== undefined) return input
    const result = input === undefined ? { wrong: 'please enter a value' } : await read(input)
    if ('answer' in result) return result.answer
    writeLine(`  ${result.wrong}`)
  }
}

type ConfirmOptions = Pick<Prompt, 'flag' | 'stoppedMessage'> & { defaultAnswer?: 'yes' | 'no' }

export async function confirm(question: string, options: ConfirmOptions): Promise<boolean> {
  const { defaultAnswer = 'no' } = options
  const read = (input: string): ReadResult =>
    /^(y|yes|n|no)$/i.test(input) ? { answer: input } : { wrong: 'please enter yes or no' }
  const withChoices = `${question} [yes/no, default ${defaultAnswer}]`
  return /^y/i.test(await ask({ ...options, question: withChoices, defaultAnswer, read }))
}

async function readInput({ question, hidden, defaultAnswer, stoppedMessage }: Prompt): Promise<string> {
  const output = hidden ? new PassThrough().resume() : process.stderr // Discards what would be echoed.
  const terminal = createInterface({ input: process.stdin, output, terminal: true })
  // After Ctrl-C or Ctrl-D `question()` never settles, and the command would exit with code 0.
  const closed = new Promise<never>((_, reject) => {
    terminal.once('close', () =>
      reject(new ConfigurationError(`\n${stoppedMessage ?? 'stopped; nothing was changed'}`)),
    )
  })
  const withDefault = defaultAnswer && !/default/.test(question) ? `${question} [${defaultAnswer}]` : question
  try {
    if (hidden)
      process.stderr.write(`${question} (hidden${defaultAnswer ? ', leave empty to keep it' : ''}): `)
    const input = terminal.question(hidden ? '' : `${sanitizeForTerminal(withDefault)}: `)
    const answer = await Promise.race([input, closed])
    if (hidden) process.stderr.write('\n')
    return answer.trim()
  } finally {
    terminal.close()
  }
}

function writeLine(text: string): void {
  process.stderr.write(`${sanitizeForTerminal(text)}\n`)
}

/**
 * Reads a secret, never from an argument: every process on the machine can read those.
 *
 * @param file path, or `-` for standard input; at a terminal the input is not echoed
 */
export async function readSecret(file: string, flag: string): Promise<string> {
  if (file === '-' && atTerminal()) return await ask({ question: `${flag}, the secret`, flag, hidden: true })
  return (await readText(file, flag)).trim()
}

/** @param maxBytes a larger file is refused before it is read completely */
export async function readText(file: string, flag: string, maxBytes = 65_536): Promise<string> {
  return (await readBytes(file, flag, maxBytes)).toString('utf8')
}

export async function readBytes(file: string, flag: string, maxBytes: number): Promise<Buffer> {
  const source = file === '-' ? { fd: 0, autoClose: false } : {}
  const content = await buffer(createReadStream(file, { ...source, end: maxBytes })).catch((cause) => {
    throw new ConfigurationError(`${flag}: ${file} cannot be read`, { cause })
  })
  if (content.length > maxBytes)
    throw new ConfigurationError(`${flag}: ${file} is larger than ${maxBytes} bytes`)
  return content
}
