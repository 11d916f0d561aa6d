import type { Faults } from '../../support/faulty-provider.ts'
import type { Group, Row } from '../../support/refusals.ts'

const parameters = (callbackParams: Faults['callbackParams'] & object): Faults => ({ callbackParams })
const fails = (error: string): Faults => ({ authorizeError: { error, error_description: '<b>no</b>' } })
const malformed = /neither a code nor an error/

const rows: Row[] = [
  ['another issuer', 'RFC 9207 2.4', parameters({ iss: 'https://evil.example' }), /iss/],
  ['no issuer, although the provider announces it', 'RFC 9207 2.4', { omitIss: true }, /iss/],
  ['an empty issuer', 'RFC 9207 2.4', parameters({ iss: '' }), /iss/],
  ['neither a code nor an error', 'RFC 6749 4.1.2', parameters({ code: undefined }), malformed],
  ['a code and an error', 'RFC 6749 4.1.2', parameters({ error: 'x' }), malformed],
  ['an empty code', 'RFC 6749 4.1.2', parameters({ code: '' }), /the code is empty/],
  ['an empty error', 'RFC 6749 4.1.2', parameters({ code: undefined, error: '' }), /code/],
  ['a code of another sign-in', 'RFC 6749 10.5', parameters({ code: 'guessed' }), /invalid_grant/],
  ['a wrong code of 8 KB', 'RFC 6749 4.1.2', parameters({ code: 'x'.repeat(8000) }), /invalid_grant/],
  [
    'a code with line breaks',
    'RFC 6749 4.1.2',
    parameters({ code: 'x\r\ny' }),
    /the code is empty or not in ASCII/,
  ],
  ['no state', 'RFC 6749 10.12', parameters({ state: undefined }), /no state/],
  ['an empty state', 'RFC 6749 10.12', parameters({ state: '' }), /no state/],
  [
    'a state with line breaks',
    'RFC 6749 10.12',
    parameters({ state: 'a\r\nset-cookie: b=c' }),
    /no such attempt/,
  ],
  ['the state __proto__', 'RFC 6749 10.12', parameters({ state: '__proto__' }), /no such attempt/],
  ['a guessed state', 'RFC 6749 10.12', parameters({ state: `tp16sc-${'x'.repeat(32)}` }), /no such attempt/],
  ['the code twice', 'RFC 6749 3.1', parameters({ code: ['a', 'b'] }), /"code" was sent twice/],
  ['the state twice', 'RFC 6749 3.1', parameters({ state: ['a', 'b'] }), /"state" was sent twice/],
  ['the issuer twice', 'RFC 6749 3.1', parameters({ iss: ['a', 'b'] }), /"iss" was sent twice/],
  ['an unknown parameter twice', 'RFC 6749 3.1', parameters({ x: ['a', 'b'] }), /"x" was sent twice/],
  ['an ID token', 'Core 3.1.2.5', parameters({ id_token: 'e.e.e' }), /implicit and hybrid/],
  ['a JARM response', 'JARM 2.3.1', parameters({ response: 'e.e.e' }), /JARM/],
  ['the error access_denied', 'RFC 6749 4.1.2.1', fails('access_denied'), /access_denied/, 403],
  // With form_post, this is oidcc-client-test-form-post-error.
  ['the error login_required', 'Core 3.1.2.6', fails('login_required'), /login_required/, 502],
  ['the error server_error', 'RFC 6749 4.1.2.1', fails('server_error'), /server_error/, 502],
  [
    'an unknown error with markup and line breaks',
    'RFC 6749 4.1.2.1',
    fails('<script>\r\nline'),
    /"<script> line": "<b>no<\/b>"/,
    502,
  ],
  ['an error of 5 KB', 'RFC 6749 4.1.2.1', fails('x '.repeat(2500)), /"(x ){100}"/, 502],
]

export const answers: Group[] = [
  { name: 'authorization response in the query', rows },
  { name: 'authorization response posted from another site (form_post)', slug: 'acme-form', rows },
]
