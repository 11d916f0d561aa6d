import path from 'node:path'

/** The package's own templates, beside `lib` as well as beside the built `dist`. */
export const viewsDirectory: string = path.resolve(import.meta.dirname, '../../views')

/** What to do in each provider's console, as Markdown. */
export const guidesDirectory: string = path.resolve(import.meta.dirname, '../../docs/providers')
