// products_wgmma.h in a build that has no CUTLASS: nobody may ask for it (products.cu).
#include "base/error.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/products_wgmma.h"

namespace r1::cuda {

bool compiled_with_cutlass() { return false; }
void run_product(Context&, Form, Tile, const Product&) { R1_CHECK(false, "a product by CUTLASS, which is not compiled in"); }
void run_products(Context&, Form, const ProductList&) { R1_CHECK(false, "products by CUTLASS, which is not compiled in"); }

}  // namespace r1::cuda
