import { createReadStream } from 'node:fs'
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
  /** printed after Ctrl-C; default: nothing was changed */
  stoppedMessage?: string | undefined
}

/** `wrong`: what to enter instead. The question is then repeated. */
export type ReadResult = { answer: string } | { wrong: AdminText }

export function atTerminal(): boolean {
  return process.stdin.isTTY === true
}

/** Standard output holds only results. */
const appearance = { output: process.stderr, withGuide: false }

/** Asks until the answer is valid. @throws ConfigurationError naming the flag without a terminal, and after Ctrl-C */
export async function ask(prompt: Prompt): Promise<string> {
  const { hint, example, hidden, defaultAnswer, read = (answer) => ({ answer }) } = prompt
  const { password, text } = await loadPrompts(prompt)
  const keep = hidden && defaultAnswer && 'leave empty to keep it'
  const help = [hint, example && `for example ${example}`, keep].filter(Boolean).join('; ')
  const message = sanitizeForTerminal(help ? `${prompt.question} (${help})` : prompt.question)
  const readAnswer = async (input = ''): Promise<ReadResult> => {
    const answer = input.trim() || defaultAnswer
    if (answer === undefined) return { wrong: 'please enter a value' }
    return answer === defaultAnswer ? { answer } : await read(answer)
  }
  async function validate(input: string | undefined): Promise<string | undefined> {
    const result = await readAnswer(input)
    return 'wrong' in result ? sanitizeForTerminal(String(result.wrong)) : undefined
  }
  const shown = defaultAnswer ? { placeholder: sanitizeForTerminal(defaultAnswer) } : {}
  const input = hidden
    ? await password({ ...appearance, message, validate })
    : await text({ ...appearance, ...shown, message, validate })
  const result = await readAnswer(assertAnswered(input, prompt))
  if ('wrong' in result) throw new ConfigurationError(String(result.wrong))
  return result.answer
}

type Question = Pick<Prompt, 'question' | 'flag' | 'stoppedMessage'>

export async function confirm(
  question: string,
  { defaultAnswer = 'no', ...more }: Omit<Question, 'question'> & { defaultAnswer?: 'yes' | 'no' },
): Promise<boolean> {
  const prompts = await loadPrompts({ question, ...more })
  const message = sanitizeForTerminal(question)
  const answer = await prompts.confirm({ ...appearance, message, initialValue: defaultAnswer === 'yes' })
  return assertAnswered(answer, more)
}

/** @param choices the first one is selected */
export async function choose(
  prompt: Question,
  choices: readonly { value: string; label: string; hint: string }[],
): Promise<string> {
  const { select } = await loadPrompts(prompt)
  const options = choices.map(({ value, label, hint }) => ({ value, label, hint }))
  return assertAnswered(await select({ ...appearance, message: prompt.question, options }), prompt)
}

/** Loaded on use: most commands ask nothing. */
async function loadPrompts({ question, flag }: Question): Promise<typeof import('@clack/prompts')> {
  const lead = question.endsWith('?') ? `${question} If so,` : `${question}:`
  if (!atTerminal()) throw new ConfigurationError(`${lead} give ${flag}`)
  // Some terminals, such as those of containers, report a size of 0.
  process.stderr.columns ||= 80
  process.stderr.rows ||= 24
  return await import('@clack/prompts')
}

/** A symbol is Ctrl-C or Escape. */
function assertAnswered<T>(
  answer: T,
  { stoppedMessage }: Pick<Prompt, 'stoppedMessage'>,
): Exclude<T, symbol> {
  if (typeof answer !== 'symbol') return answer as Exclude<T, symbol>
  throw new ConfigurationError(stoppedMessage ?? 'stopped; nothing was changed')
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
