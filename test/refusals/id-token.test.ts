import { testAftermath, testRefusals, useRefusalScene } from '../support/refusals.ts'
import { idToken } from './tables/id-token.ts'
import { algorithms, signatures } from './tables/signatures.ts'

const scene = useRefusalScene()

testRefusals(scene, [...signatures, ...algorithms, ...idToken])
testAftermath(scene)
