import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'

const root = path.resolve(import.meta.dirname, '../..')
const folders = ['bench', 'docs', 'examples', 'lib', 'test']

/** A subordinate clause in place of a subject, which makes readers look for the thing itself. Questions are fine. */
const words = 'who|whoever|whose|what|whatever|whom'
const capitals = words.replace(/\b\w/g, (letter) => letter.toUpperCase())
const inComment = new RegExp(
  `(?:^\\s*/\\*\\* (?:${words}|${capitals})|(?:^\\s*(?:\\*|//)|[.!?]) (?:${capitals}))\\b[^?]*$`,
)
// `it('whose secret …')` completes its `describe`.
const inTitle =
  /\b(?:(?:it|test)(?:\.\w+)?(?:\([^'"`]*\))?\((['"`])(?:whoever|what|whatever)|describe(?:\.\w+)?(?:\([^'"`]*\))?\((['"`])(?:who|whoever|whose|what|whatever)) (?!.*\?(?:\1|\2))/i

interface Line {
  at: string
  text: string
}

const lines: Line[] = folders.flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !/node_modules|structure\/wording/.test(file))
    .flatMap((file) =>
      fs
        .readFileSync(path.join(root, folder, file), 'utf8')
        .split('\n')
        .map((text, index) => ({ at: `${folder}/${file}:${index + 1}`, text })),
    ),
)

const isComment = ({ text }: Line) => /^\s*(\/\*\*|\*|\/\/)/.test(text)
const listed = (found: Line[]) => found.map(({ at, text }) => `${at} ${text.trim()}`)

describe('no sentence opens with a bare who, whose or what', () => {
  it('in comments', () => {
    expect(lines.filter(isComment).length).toBeGreaterThan(2000)
    expect(listed(lines.filter((line) => isComment(line) && inComment.test(line.text)))).toEqual([])
  })

  it('in titles of tests', () => {
    expect(listed(lines.filter(({ text }) => inTitle.test(text)))).toEqual([])
  })

  it('in messages and texts of pages', () => {
    const files = fs.readdirSync(path.join(root, 'views/locales')).map((file) => `views/locales/${file}`)
    const english = fs.readFileSync(path.join(root, files.find((file) => file.endsWith('en.json'))!), 'utf8')
    const opening = new RegExp(`(?:": "|[.!] )(?:${words}) [^?"]*"`, 'gi')
    expect([...english.matchAll(opening)].map(([found]) => found)).toEqual([])
    const thrown = new RegExp(`Error\\([^'"\`]*['"\`](?:${words}) `, 'i')
    expect(listed(lines.filter(({ text }) => thrown.test(text)))).toEqual([])
  })

  it.each(['// Who signs in', ' * What it does. It is fine', '/** Fine. What is not is listed. */'])(
    'is found in %s',
    (text) => expect(text).toMatch(inComment),
  )

  it.each(["it('whoever signs in is admitted', ", "it.each(rows)('what is read: %s', "])(
    'is found in the title %s',
    (text) => expect(text).toMatch(inTitle),
  )
})
