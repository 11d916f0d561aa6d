import path from 'node:path'

/** The package's own templates, beside `lib` as well as beside the built `dist`. */
export const viewsDirectory: string = path.resolve(import.meta.dirname, '../../views')
