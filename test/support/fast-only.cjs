const fs = require('node:fs')

/** Filter of `npm run test:fast`: leaves out files that begin with `@slow`, for a browser, processes or more than 20 seconds. */
module.exports = async (files) => ({
  filtered: files.filter((file) => !fs.readFileSync(file, 'utf8').startsWith('/** @slow ')),
})
