import path from 'node:path'

/** Our templates. The path is the same from `lib` and from the built `dist`. */
export const viewsDirectory: string = path.resolve(import.meta.dirname, '../../views')

/** The guides to each provider's console, in Markdown. */
export const guidesDirectory: string = path.resolve(import.meta.dirname, '../../docs/providers')
